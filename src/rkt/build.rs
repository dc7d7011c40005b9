//! What the linker leaves out of a release build of the static binary: unwind tables, which an aborting panic never reads,
//! and most of the space that relocations take (RELR; musl applies it to static programs since 1.2.4).

fn main() {
    println!("cargo:rerun-if-changed=no-unwind.ld");
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_ENV", "musl") {
        let dir = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{dir}/no-unwind.ld");
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
