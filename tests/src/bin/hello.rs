//! The only program of the image that `make run` makes: says hello and where it finds itself.

fn main() {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let root: Vec<String> = std::fs::read_dir("/")
        .map(|entries| {
            entries
                .filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned()))
                .collect()
        })
        .unwrap_or_default();
    println!("hello from a pod");
    println!("  hostname  {}", hostname.trim());
    println!("  process   {} of {}", std::process::id(), processes());
    println!(
        "  arguments {:?}",
        std::env::args().skip(1).collect::<Vec<_>>()
    );
    println!("  root      {}", root.join(" "));
}

fn processes() -> usize {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return 0;
    };
    let is_pid = |name: &str| name.bytes().all(|b| b.is_ascii_digit());
    entries
        .filter_map(Result::ok)
        .filter(|e| e.file_name().to_str().is_some_and(is_pid))
        .count()
}
