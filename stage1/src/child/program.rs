//! Which file the first word of an exec line means, inside the app's root.

use model::Fault;
use rustix::fs::Access;

use crate::plan::AppPlan;

/// An absolute path is taken as it is; one with a slash is below the working
/// directory; a bare word is looked up in the app's PATH.
pub fn find(word: &str, app: &AppPlan) -> Result<String, Fault> {
    if word.starts_with('/') {
        return Ok(word.to_string());
    }
    if word.contains('/') {
        return Ok(format!(
            "{}/{word}",
            app.working_directory.trim_end_matches('/')
        ));
    }
    let path = app
        .env
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map_or("/bin:/usr/bin", |(_, path)| path);
    path.split(':')
        .map(|directory| {
            if directory.is_empty() {
                &app.working_directory
            } else {
                directory
            }
        })
        .map(|directory| format!("{}/{word}", directory.trim_end_matches('/')))
        .find(|candidate| is_program(candidate))
        .ok_or_else(|| {
            Fault::not_found(format!("unable to find \"{word}\" in \"{path}\""))
                .hint("name the program by its absolute path, or set PATH with --environment")
        })
}

fn is_program(path: &str) -> bool {
    rustix::fs::access(path, Access::EXEC_OK).is_ok()
        && rustix::fs::stat(path).is_ok_and(|stat| {
            rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile
        })
}
