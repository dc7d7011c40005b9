//! Kernel modules by name: what each needs, in which order, and loading them.
//!
//! `/lib/modules/RELEASE/modules.dep` names each file with all that it depends on,
//! nearest first, and `modules.builtin` what the kernel has in itself (depmod(8)). In
//! names `-` and `_` are alike. Plain files are handed to the kernel as they are;
//! compressed ones are read here, since few kernels can. Both lists are bounded.

use archive::Decoder;
use model::Fault;
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;

/// Debian's whole kernel has 350 KB of dependencies and a largest module of 25 MB.
const MAX_LIST: u64 = 16 << 20;
const MAX_MODULE: u64 = 256 << 20;

/// A module that was asked for, with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub name: String,
    pub options: Vec<String>,
}

/// The modules of one kernel.
pub(crate) struct Modules {
    root: String,
    dependencies: String,
    builtin: String,
}

/// The name by which the kernel knows the module in this file.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// A line of /etc/rkt/modules: a name and its options; `#` begins a comment.
pub(crate) fn listed(text: &str) -> Vec<Wanted> {
    text.lines()
        .filter_map(|line| {
            let mut words = line
                .split('#')
                .next()?
                .split_whitespace()
                .map(str::to_string);
            Some(Wanted {
                name: words.next()?,
                options: words.collect(),
            })
        })
        .collect()
}

impl Modules {
    /// Those of the kernel that runs.
    pub(crate) fn of_this_kernel() -> Result<Modules, Fault> {
        let uname = rustix::system::uname();
        let root = format!("/lib/modules/{}", uname.release().to_string_lossy());
        let dependencies = text(&format!("{root}/modules.dep")).map_err(|fault| {
            fault.hint("the root file system needs the modules of this very kernel, and depmod's list of them")
        })?;
        // A list that is missing costs a clear word about what is built in, no more.
        let builtin = text(&format!("{root}/modules.builtin")).unwrap_or_default();
        Ok(Modules {
            root,
            dependencies,
            builtin,
        })
    }

    /// The files to load for `name`, in order; none for one that is built in.
    fn order(&self, name: &str) -> Result<Vec<&str>, Fault> {
        let name = name.replace('-', "_");
        let lines = self
            .dependencies
            .lines()
            .filter_map(|line| line.split_once(':'));
        let Some((file, needs)) = lines.into_iter().find(|(file, _)| name_of(file) == name) else {
            if self.builtin.lines().any(|file| name_of(file) == name) {
                return Ok(Vec::new());
            }
            return Err(
                Fault::not_found(format!("there is no such module in {}", self.root))
                    .hint("take it into the root file system, or build it into the kernel"),
            );
        };
        let mut files: Vec<&str> = needs.split_whitespace().rev().collect();
        files.push(file);
        Ok(files)
    }

    /// Loads `wanted` and what it needs. What is loaded already is fine.
    pub(crate) fn load(
        &self,
        wanted: &Wanted,
        options: &[(String, String)],
        loaded: &mut HashSet<String>,
    ) -> Result<(), Fault> {
        let context = |fault: Fault| fault.message(format!("module \"{}\"", wanted.name));
        let files = self.order(&wanted.name).map_err(context)?;
        for (place, file) in files.iter().enumerate() {
            if !loaded.insert(file.to_string()) {
                continue;
            }
            let name = name_of(file);
            let from_kernel = options
                .iter()
                .filter(|(module, _)| *module == name)
                .map(|(_, option)| option.as_str());
            let mut all: Vec<&str> = from_kernel.collect();
            if place + 1 == files.len() {
                all.extend(wanted.options.iter().map(String::as_str));
            }
            insert(&format!("{}/{file}", self.root), &all.join(" ")).map_err(context)?;
        }
        Ok(())
    }
}

fn text(path: &str) -> Result<String, Fault> {
    let fail = |err| Fault::io("open", path, err);
    let mut text = String::new();
    let file = File::open(path).map_err(fail)?;
    let length = file
        .take(MAX_LIST + 1)
        .read_to_string(&mut text)
        .map_err(fail)?;
    if length as u64 > MAX_LIST {
        return Err(Fault::invalid(format!(
            "\"{path}\" is longer than {MAX_LIST} bytes"
        )));
    }
    Ok(text)
}

fn insert(path: &str, options: &str) -> Result<(), Fault> {
    let options = CString::new(options).map_err(|_| Fault::invalid("options with a NUL"))?;
    let file = File::open(path).map_err(|err| Fault::io("open", path, err))?;
    let inserted = if path.ends_with(".ko") {
        rustix::system::finit_module(&file, &options, 0)
    } else {
        rustix::system::init_module(
            &inflated(file).map_err(|fault| fault.link(path.to_string()))?,
            &options,
        )
    };
    match inserted {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(Fault::io("load", path, errno).hint(match errno {
            Errno::NOEXEC => "it is of another kernel than the one that runs",
            Errno::PERM | Errno::KEYREJECTED | Errno::NOKEY => {
                "this kernel takes signed modules only"
            }
            _ => "the kernel's own messages say more",
        })),
    }
}

fn inflated(file: File) -> Result<Vec<u8>, Fault> {
    let mut decoder = Decoder::new(file)?;
    let mut bytes = Vec::new();
    match decoder
        .by_ref()
        .take(MAX_MODULE + 1)
        .read_to_end(&mut bytes)
    {
        Ok(length) if length as u64 <= MAX_MODULE => Ok(bytes),
        Ok(_) => Err(Fault::invalid(format!(
            "it is larger than {MAX_MODULE} bytes"
        ))),
        Err(err) => Err(decoder.fault(err)),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn modules() -> Modules {
        Modules {
            root: "/lib/modules/6".to_string(),
            dependencies: "kernel/fs/ext4/ext4.ko.xz: kernel/fs/mbcache.ko.xz kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz\n\
                 kernel/fs/mbcache.ko.xz:\nkernel/net/virtio-net.ko: kernel/net/net_failover.ko\nnonsense\n"
                .to_string(),
            builtin: "kernel/fs/binfmt-elf.ko\n".to_string(),
        }
    }

    #[test]
    fn the_farthest_need_comes_first() {
        let modules = modules();
        assert_eq!(
            modules.order("ext4").unwrap(),
            [
                "kernel/lib/crc16.ko.xz",
                "kernel/fs/jbd2/jbd2.ko.xz",
                "kernel/fs/mbcache.ko.xz",
                "kernel/fs/ext4/ext4.ko.xz"
            ]
        );
    }

    #[test]
    fn hyphen_and_underscore_are_alike() {
        let modules = modules();
        let expected = ["kernel/net/net_failover.ko", "kernel/net/virtio-net.ko"];
        assert_eq!(modules.order("virtio_net").unwrap(), expected);
        assert_eq!(modules.order("virtio-net").unwrap(), expected);
    }

    #[test]
    fn what_is_built_in_needs_no_file_and_what_is_nowhere_is_an_error() {
        assert_eq!(modules().order("binfmt_elf").unwrap(), [""; 0]);
        let fault = modules().order("ext").unwrap_err();
        assert!(fault.hint.is_some());
    }

    #[test]
    fn a_list_has_names_and_options() {
        let found = listed("# all of them\noverlay\n\n loop max_loop=3 max_part=1 # disks\n");
        let wanted = |name: &str, options: &[&str]| Wanted {
            name: name.to_string(),
            options: options.iter().map(|option| option.to_string()).collect(),
        };
        assert_eq!(
            found,
            [
                wanted("overlay", &[]),
                wanted("loop", &["max_loop=3", "max_part=1"])
            ]
        );
    }

    #[test]
    fn a_compressed_module_that_is_none_is_an_error() {
        let path = std::env::temp_dir().join(format!("rkt-test-module-{}", std::process::id()));
        std::fs::write(&path, b"\xfd7zXZ\0 and then nothing of the sort").unwrap();
        let found = inflated(File::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(found.is_err());
    }
}
