//! What a fetch tells while it works. Who watches decides how it looks.

/// Receives what a person may want to know; from several threads.
pub trait Notes: Sync {
    /// A line for stderr.
    fn note(&self, text: &str);
    /// A line that only `--debug` shows.
    fn debug(&self, text: &str);
}

/// Receives the progress of downloads; several may run at once.
pub trait Progress: Sync {
    /// A transfer begins: `Downloading ACI`, its total in bytes if known.
    fn begin(&self, what: &str, total: Option<u64>) -> Box<dyn Bar + '_>;
}

/// One transfer. Dropped without `finish`, it has failed.
pub trait Bar: Send {
    /// So many bytes more.
    fn advance(&mut self, bytes: u64);
    fn finish(&mut self);
}

/// Nobody watches.
pub struct Silent;

impl Notes for Silent {
    fn note(&self, _: &str) {}
    fn debug(&self, _: &str) {}
}

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>) -> Box<dyn Bar + '_> {
        Box::new(Silent)
    }
}

impl Bar for Silent {
    fn advance(&mut self, _: u64) {}
    fn finish(&mut self) {}
}
