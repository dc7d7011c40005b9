//! What was left out or is odd, for the log: a hundred remarks, then a count.

/// Notes that are kept; beyond them they are counted.
const MAX_NOTES: usize = 100;

#[derive(Default)]
pub(crate) struct Notes {
    kept: Vec<String>,
    more: u64,
    /// Devices that the kernel does not let us make.
    pub(crate) refused_devices: u64,
}

impl Notes {
    pub(crate) fn add(&mut self, text: String) {
        if self.kept.len() < MAX_NOTES {
            self.kept.push(text);
        } else {
            self.more += 1;
        }
    }

    /// The same remark again is none.
    pub(crate) fn add_once(&mut self, text: String) {
        if !self.kept.contains(&text) {
            self.add(text);
        }
    }

    pub(crate) fn finish(mut self) -> Vec<String> {
        if self.refused_devices > 0 {
            let count = self.refused_devices;
            self.kept.push(format!(
                "device nodes left out: {count}, making them is not permitted"
            ));
        }
        if self.more > 0 {
            self.kept.push(format!("and {} more", self.more));
        }
        self.kept
    }
}
