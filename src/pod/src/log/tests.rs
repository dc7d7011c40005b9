//! A writer and readers on a real directory.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::files;
use crate::testing::TempData;
use model::AcName;
use rustix::fd::OwnedFd;

const SMALL: Limits = Limits { file: 0 };

fn dir(data: &TempData) -> OwnedFd {
    files::open_dir_path(data.path()).unwrap()
}

fn app() -> AcName {
    AcName::new("web").unwrap()
}

fn writer(data: &TempData, limits: Limits) -> LogFile {
    LogFile::open(dir(data), &app(), limits, 0).unwrap()
}

fn say(log: &mut LogFile, time_ns: i64, text: &str) {
    log.append(
        time_ns,
        Stream::Stdout,
        Part {
            partial: false,
            text: text.as_bytes(),
        },
    );
}

/// Everything a reader gives now; misses as `-N`.
fn drain(reader: &mut Reader) -> Vec<String> {
    let mut out = Vec::new();
    let mut emit = |event: Event<'_>| match event {
        Event::Line(line) => out.push(String::from_utf8_lossy(line.text).into_owned()),
        Event::Missed(lines) => out.push(format!("-{lines}")),
    };
    while reader.read(&mut emit).unwrap() {}
    out
}

fn all(data: &TempData, query: Query) -> Vec<String> {
    drain(&mut Reader::open(dir(data), &app(), query).unwrap())
}

#[test]
fn lines_are_read_as_they_come() {
    let data = TempData::new();
    let whole = Query {
        whole: true,
        ..Query::default()
    };
    let mut reader = Reader::open(dir(&data), &app(), whole).unwrap();
    assert!(drain(&mut reader).is_empty());
    let mut log = writer(&data, Limits::default());
    assert!(drain(&mut reader).is_empty());
    say(&mut log, 1, "one");
    assert!(drain(&mut reader).is_empty(), "not flushed");
    log.flush();
    assert_eq!(drain(&mut reader), ["one"]);
    say(&mut log, 2, "two");
    say(&mut log, 3, "");
    log.flush();
    assert_eq!(drain(&mut reader), ["two", ""]);
    assert!(drain(&mut reader).is_empty());
}

#[test]
fn since_and_tail_choose() {
    let data = TempData::new();
    let mut log = writer(&data, Limits::default());
    for number in 0..10 {
        say(&mut log, number, &number.to_string());
    }
    drop(log);
    let query = |since_ns, tail| Query {
        since_ns,
        tail,
        whole: false,
    };
    let table = [
        (query(None, None), 10),
        (query(Some(7), None), 3),
        (query(Some(70), None), 0),
        (query(None, Some(0)), 0),
        (query(None, Some(4)), 4),
        (query(None, Some(400)), 10),
        (query(Some(8), Some(4)), 2),
        (query(Some(2), Some(1)), 1),
    ];
    for (query, count) in table {
        let want: Vec<String> = (10 - count..10).map(|number| number.to_string()).collect();
        assert_eq!(all(&data, query), want, "{query:?}");
    }
}

/// However a reader lags, lines plus misses are what was written, in order.
#[test]
fn rotation_loses_no_count() {
    for pace in [1, 7, 100, 1000, 100_000] {
        let data = TempData::new();
        let whole = Query {
            whole: true,
            ..Query::default()
        };
        let mut reader = Reader::open(dir(&data), &app(), whole).unwrap();
        let mut log = writer(&data, SMALL);
        let mut next = 0;
        let mut take = |reader: &mut Reader| {
            for text in drain(reader) {
                match text.strip_prefix('-') {
                    Some(missed) => next += missed.parse::<usize>().unwrap(),
                    None => {
                        assert_eq!(text.split(' ').next(), Some(&*next.to_string()));
                        next += 1;
                    }
                }
            }
        };
        for number in 0..5000 {
            say(&mut log, 0, &format!("{number} {}", "x".repeat(100)));
            log.flush();
            if number % pace == 0 {
                take(&mut reader);
            }
        }
        drop(log);
        take(&mut reader);
        assert_eq!(next, 5000, "pace {pace}");
        let size = |name: &str| std::fs::metadata(data.path().join(name)).unwrap().len();
        assert!(size("web") <= 1 << 17 && size("web.1") <= 1 << 17);
    }
}

#[test]
fn a_reader_behind_one_rotation_misses_nothing() {
    let data = TempData::new();
    let mut log = writer(&data, SMALL);
    say(&mut log, 0, "first");
    log.flush();
    let mut reader = Reader::open(dir(&data), &app(), Query::default()).unwrap();
    assert_eq!(drain(&mut reader), ["first"]);
    let long = "x".repeat(10_000);
    for _ in 0..8 {
        say(&mut log, 0, &long);
        log.flush();
    }
    assert!(data.path().join("web.1").exists());
    assert_eq!(drain(&mut reader).len(), 8);
}

#[test]
fn a_writer_goes_on_after_a_kill() {
    let data = TempData::new();
    let mut log = writer(&data, Limits::default());
    say(&mut log, 0, "one");
    drop(log);
    let path = data.path().join("web");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"1970-01-01T00:00:00.000000000Z stdout F to");
    std::fs::write(&path, &bytes).unwrap();
    let mut log = writer(&data, Limits::default());
    say(&mut log, 0, "three");
    drop(log);
    assert_eq!(all(&data, Query::default()), ["one", "three"]);
}

#[test]
fn damage_and_losses_are_counted() {
    let data = TempData::new();
    let note = |text: &str| format!("1970-01-01T00:00:00.000000000Z rkt F {text}\n");
    let line = |text: &str| format!("1970-01-01T00:00:00.000000000Z stderr F {text}\n");
    let path = data.path().join("web");
    let text = [
        note("first 5"),
        line("a"),
        note("lost 3"),
        "zzz\n".into(),
        line("b"),
    ]
    .concat();
    std::fs::write(&path, &text).unwrap();
    assert_eq!(all(&data, Query::default()), ["a", "-3", "-1", "b"]);
    let whole = Query {
        whole: true,
        ..Query::default()
    };
    assert_eq!(all(&data, whole), ["-5", "a", "-3", "-1", "b"]);
    assert_eq!(
        all(
            &data,
            Query {
                tail: Some(1),
                ..Query::default()
            }
        ),
        ["b"]
    );
    // A line without end, longer than any record.
    std::fs::write(
        &path,
        [text.as_bytes(), &vec![0; 200_000][..], b"\n"].concat(),
    )
    .unwrap();
    let events = all(&data, Query::default());
    assert_eq!(events[..5], ["a", "-3", "-1", "b", "-1"]);
}

/// `/dev/full` answers every write with ENOSPC, as a full disk does.
#[test]
fn a_full_disk_drops_and_counts() {
    let data = TempData::new();
    let mut log = writer(&data, Limits::default());
    say(&mut log, 1, "before");
    log.flush();
    log.swap_file(files_open("/dev/full"));
    for number in 0..7 {
        say(&mut log, 2, &number.to_string());
        log.flush();
    }
    assert_eq!(log.lost(), 7);
    log.swap_file(files_open(data.path().join("web").to_str().unwrap()));
    say(&mut log, 3, "after");
    log.flush();
    assert_eq!(log.lost(), 0);
    assert_eq!(all(&data, Query::default()), ["before", "-7", "after"]);
}

fn files_open(path: &str) -> OwnedFd {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    openat(
        CWD,
        path,
        OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .unwrap()
}

#[test]
fn parts_of_a_long_line_are_one_line() {
    let data = TempData::new();
    let mut log = writer(&data, Limits::default());
    let mut splitter = LineSplitter::new();
    let text = [vec![b'x'; 3 * MAX_TEXT], b"\nshort\n".to_vec()].concat();
    splitter.feed(&text, &mut |part| log.append(0, Stream::Stdout, part));
    drop(log);
    assert_eq!(all(&data, Query::default()).len(), 4);
    assert_eq!(
        all(
            &data,
            Query {
                tail: Some(1),
                ..Query::default()
            }
        ),
        ["short"]
    );
    assert_eq!(
        all(
            &data,
            Query {
                tail: Some(2),
                ..Query::default()
            }
        )
        .len(),
        4
    );
}

#[test]
fn a_watch_wakes_for_a_line() {
    let data = TempData::new();
    let Some(watch) = Watch::open(dir(&data)) else {
        return;
    };
    let mut log = writer(&data, Limits::default());
    say(&mut log, 0, "x");
    log.flush();
    let mut fds = [rustix::event::PollFd::new(
        &watch,
        rustix::event::PollFlags::IN,
    )];
    assert_eq!(rustix::event::poll(&mut fds, None).unwrap(), 1);
    watch.clear();
    let zero = rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut fds = [rustix::event::PollFd::new(
        &watch,
        rustix::event::PollFlags::IN,
    )];
    assert_eq!(rustix::event::poll(&mut fds, Some(&zero)).unwrap(), 0);
}
