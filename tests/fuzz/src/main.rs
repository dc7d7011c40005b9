//! The fuzzer: libFuzzer's loop around one of `targets`, which `FUZZ_TARGET` names.
//!
//! One binary for all targets, so the crates are built with coverage once. One mutation of eight is libFuzzer's, on
//! bytes; the others know the format (`mutate`) and keep it readable for a parser. With `FUZZ_PLANTED=1` the bugs
//! planted for the self-test are armed. `run` beside `src` builds and starts it.

#![no_main]

mod mutate;
mod targets;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use mutate::Dice;
use std::sync::LazyLock;
use targets::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    match TARGETS.iter().find(|target| target.name == name) {
        Some(target) => target,
        None => {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            eprintln!("fuzz: FUZZ_TARGET has to be one of {}", names.join(", "));
            std::process::exit(2);
        }
    }
});

fuzz_target!(
    init: targets::plant::arm(std::env::var_os("FUZZ_PLANTED").is_some()),
    |data: &[u8]| (TARGET.run)(data)
);

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut dice = Dice::new(seed);
    if dice.roll(8) > 0
        && let Some(new) = (TARGET.mutate)(&mut dice, &data[..size])
        && (1..=max_size).contains(&new.len())
    {
        data[..new.len()].copy_from_slice(&new);
        return new.len();
    }
    fuzzer_mutate(data, size, max_size)
});
