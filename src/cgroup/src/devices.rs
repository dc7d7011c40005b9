//! The devices of a pod: everything is denied but a list.
//!
//! On v1 the list is written to `devices.allow`; on v2 it becomes a program
//! that the kernel runs at each open and mknod of a device node. Making nodes
//! of any kind stays allowed to whoever has CAP_MKNOD: tools that unpack images
//! need it, and a node that cannot be opened does no harm.

use crate::file;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use sys::bpf::Insn;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    Char,
    Block,
}

/// What may be done with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub read: bool,
    pub write: bool,
    pub mknod: bool,
}

impl Access {
    pub const ALL: Access = Access {
        read: true,
        write: true,
        mknod: true,
    };
    pub const MKNOD: Access = Access {
        read: false,
        write: false,
        mknod: true,
    };
    pub const READ: Access = Access {
        read: true,
        write: false,
        mknod: false,
    };

    /// The kernel's bits: mknod 1, read 2, write 4.
    fn bits(self) -> i32 {
        i32::from(self.mknod) | i32::from(self.read) << 1 | i32::from(self.write) << 2
    }
}

/// One entry of the list; no number is every number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    pub kind: DeviceKind,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: Access,
}

impl Device {
    const fn char(major: u32, minor: Option<u32>) -> Device {
        Device {
            kind: DeviceKind::Char,
            major: Some(major),
            minor,
            access: Access::ALL,
        }
    }
    const fn nodes(kind: DeviceKind) -> Device {
        Device {
            kind,
            major: None,
            minor: None,
            access: Access::MKNOD,
        }
    }
}

/// As v1 takes it: `c 1:3 rwm`.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number =
            |number: Option<u32>| number.map_or("*".to_string(), |number| number.to_string());
        let kind = match self.kind {
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        };
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        for (letter, granted) in [
            ('r', self.access.read),
            ('w', self.access.write),
            ('m', self.access.mknod),
        ] {
            if granted {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// What every pod may use: nodes of any kind (mknod only), null, zero, full,
/// random, urandom, tty, ptmx, the pseudo terminals and net/tun.
const USUAL: [Device; 11] = [
    Device::nodes(DeviceKind::Char),
    Device::nodes(DeviceKind::Block),
    Device::char(1, Some(3)),
    Device::char(1, Some(5)),
    Device::char(1, Some(7)),
    Device::char(1, Some(8)),
    Device::char(1, Some(9)),
    Device::char(5, Some(0)),
    Device::char(5, Some(2)),
    Device::char(136, None),
    Device::char(10, Some(200)),
];

/// The usual devices and those of the pod's volumes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Devices {
    more: Vec<Device>,
}

impl Devices {
    /// Adds a device that the user gave to the pod.
    pub fn allow(&mut self, device: Device) {
        if !self.more.contains(&device) {
            self.more.push(device);
        }
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = (&Device, bool)> {
        USUAL
            .iter()
            .map(|device| (device, true))
            .chain(self.more.iter().map(|device| (device, false)))
    }

    /// Confines a v1 cgroup that has no children yet (the kernel refuses the
    /// first deny otherwise); those made later inherit the list.
    pub(crate) fn write_v1(&self, dir: BorrowedFd<'_>) -> io::Result<()> {
        file::write(dir, "devices.deny", "a")?;
        let allow = file::open_for_write(dir, "devices.allow")?;
        for (device, usual) in self.iter() {
            match file::put(&allow, &device.to_string()) {
                // Our own cgroup is confined and lacks it: the pod goes
                // without, unless the user asked for exactly this one.
                Err(err)
                    if usual
                        && err.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Confines a v2 cgroup and all below it.
    pub(crate) fn attach_v2(&self, dir: BorrowedFd<'_>) -> io::Result<()> {
        let program = sys::bpf::load_device_filter(&self.program())?;
        sys::bpf::attach_device_filter(dir, std::os::fd::AsFd::as_fd(&program))
    }

    /// The filter: its context is `{u32 access << 16 | kind, u32 major, u32
    /// minor}`, 1 lets the access pass. An entry matches if it has the kind and
    /// the numbers and grants all that is asked for at once, v1's own rule.
    fn program(&self) -> Vec<Insn> {
        // r2 kind, r3 access asked for, r4 major, r5 minor, r6 scratch.
        let mut code = vec![
            insn(LOAD_WORD, 2, 1, 0, 0),
            insn(MOVE_REGISTER, 3, 2, 0, 0),
            insn(AND_VALUE, 2, 0, 0, 0xffff),
            insn(SHIFT_RIGHT, 3, 0, 0, 16),
            insn(LOAD_WORD, 4, 1, 4, 0),
            insn(LOAD_WORD, 5, 1, 8, 0),
        ];
        for (device, _) in self.iter() {
            let kind = match device.kind {
                DeviceKind::Block => 1,
                DeviceKind::Char => 2,
            };
            let mut entry = vec![(2, kind)];
            entry.extend(device.major.map(|major| (4, major as i32)));
            entry.extend(device.minor.map(|minor| (5, minor as i32)));
            let refused = !device.access.bits() & 7;
            // Each test skips to the next entry: the tests after it, three
            // instructions for a partial access, two to let pass.
            let mut left = entry.len() + if refused != 0 { 3 } else { 0 } + 2;
            for (register, value) in entry {
                left -= 1;
                code.push(insn(JUMP_UNEQUAL, register, 0, left as i16, value));
            }
            if refused != 0 {
                code.push(insn(MOVE_REGISTER, 6, 3, 0, 0));
                code.push(insn(AND_VALUE, 6, 0, 0, refused));
                code.push(insn(JUMP_UNEQUAL, 6, 0, 2, 0));
            }
            code.extend([insn(MOVE_VALUE, 0, 0, 0, 1), insn(EXIT, 0, 0, 0, 0)]);
        }
        code.extend([insn(MOVE_VALUE, 0, 0, 0, 0), insn(EXIT, 0, 0, 0, 0)]);
        code
    }
}

// The few operations of extended BPF that the filter takes (32-bit arithmetic,
// so that the upper halves are zero).
const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbc;
const MOVE_VALUE: u8 = 0xb4;
const AND_VALUE: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_UNEQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

fn insn(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Insn {
    Insn {
        code,
        registers: source << 4 | destination,
        offset,
        immediate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a filter as the kernel would.
    fn run(code: &[Insn], context: [u32; 3]) -> u32 {
        let mut registers = [0u64; 7];
        let mut at = 0usize;
        loop {
            let one = code[at];
            at += 1;
            let (to, from) = ((one.registers & 15) as usize, (one.registers >> 4) as usize);
            let value = u64::from(one.immediate as u32);
            match one.code {
                LOAD_WORD => registers[to] = u64::from(context[one.offset as usize / 4]),
                MOVE_REGISTER => registers[to] = registers[from] & 0xffff_ffff,
                MOVE_VALUE => registers[to] = value,
                AND_VALUE => registers[to] &= value,
                SHIFT_RIGHT => registers[to] = (registers[to] & 0xffff_ffff) >> value,
                JUMP_UNEQUAL if registers[to] != value => at += one.offset as usize,
                JUMP_UNEQUAL => {}
                EXIT => return registers[0] as u32,
                other => unreachable!("operation {other:#x}"),
            }
        }
    }

    #[test]
    fn the_filter_grants_what_the_list_grants() {
        let mut devices = Devices::default();
        let partial = Access {
            read: true,
            write: false,
            mknod: false,
        };
        devices.allow(Device {
            kind: DeviceKind::Block,
            major: Some(8),
            minor: Some(1),
            access: partial,
        });
        devices.allow(Device {
            kind: DeviceKind::Char,
            major: Some(226),
            minor: None,
            access: Access::ALL,
        });
        let code = devices.program();
        for (kind, kind_bits) in [(DeviceKind::Block, 1), (DeviceKind::Char, 2)] {
            for major in [0, 1, 5, 8, 10, 136, 137, 226] {
                for minor in [0, 1, 2, 3, 5, 7, 8, 9, 200, 229, 1000] {
                    for asked in 1..8 {
                        let granted = devices.iter().any(|(device, _)| {
                            device.kind == kind
                                && device.major.is_none_or(|number| number == major)
                                && device.minor.is_none_or(|number| number == minor)
                                && asked & !device.access.bits() == 0
                        });
                        let verdict = run(&code, [(asked as u32) << 16 | kind_bits, major, minor]);
                        assert_eq!(verdict == 1, granted, "{kind:?} {major}:{minor} {asked}");
                    }
                }
            }
        }
    }

    #[test]
    fn entries_are_written_as_v1_reads_them() {
        let lines: Vec<String> = USUAL.iter().map(Device::to_string).collect();
        assert_eq!(lines[0], "c *:* m");
        assert_eq!(lines[1], "b *:* m");
        assert_eq!(lines[2], "c 1:3 rwm");
        assert_eq!(lines[9], "c 136:* rwm");
        for (device, why) in [
            ("10:229", "fuse is not for every pod"),
            ("5:1", "the console of the host is nobody's"),
        ] {
            assert!(!lines.iter().any(|line| line.contains(device)), "{why}");
        }
    }
}
