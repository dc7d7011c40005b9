//! The controllers that rkt uses, and sets of them.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    Memory,
    Cpu,
    Pids,
    /// v1 only; on cgroup v2 a BPF program does its work.
    Devices,
}

impl Controller {
    pub const ALL: [Controller; 4] = [
        Controller::Memory,
        Controller::Cpu,
        Controller::Pids,
        Controller::Devices,
    ];

    /// The kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Cpu => "cpu",
            Controller::Pids => "pids",
            Controller::Devices => "devices",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Controllers(u8);

impl Controllers {
    pub const EMPTY: Controllers = Controllers(0);
    pub const ALL: Controllers = Controllers((1 << Controller::ALL.len()) - 1);

    pub fn with(self, controller: Controller) -> Controllers {
        Controllers(self.0 | controller.bit())
    }
    pub fn without(self, other: Controllers) -> Controllers {
        Controllers(self.0 & !other.0)
    }
    pub fn union(self, other: Controllers) -> Controllers {
        Controllers(self.0 | other.0)
    }
    pub fn contains(self, controller: Controller) -> bool {
        self.0 & controller.bit() != 0
    }
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    pub fn iter(self) -> impl Iterator<Item = Controller> {
        Controller::ALL
            .into_iter()
            .filter(move |controller| self.contains(*controller))
    }

    /// Those of ours among the names of `cgroup.controllers` and its like;
    /// `separator` is a space on v2, a comma in `/proc/self/cgroup`.
    pub(crate) fn among(names: &str, separator: char) -> Controllers {
        names
            .split(separator)
            .filter_map(|name| {
                Controller::ALL
                    .into_iter()
                    .find(|controller| controller.name() == name.trim())
            })
            .fold(Controllers::EMPTY, Controllers::with)
    }

    /// `+cpu +memory`, as `cgroup.subtree_control` takes it.
    pub(crate) fn signed(self, sign: char) -> String {
        self.iter()
            .map(|controller| format!("{sign}{controller}"))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Names with a space between, as `cgroup.controllers` shows them.
impl fmt::Display for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, controller) in self.iter().enumerate() {
            write!(f, "{}{controller}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

impl FromIterator<Controller> for Controllers {
    fn from_iter<I: IntoIterator<Item = Controller>>(list: I) -> Controllers {
        list.into_iter().fold(Controllers::EMPTY, Controllers::with)
    }
}
