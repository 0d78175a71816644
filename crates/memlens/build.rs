//! Links the C library into the command, where its archives are installed.
//!
//! memlens is started anew for each recording, and of what it does before the program runs the loader's work was the largest
//! part: with the C library linked in, `memlens --version` takes 1.07 ms in place of 1.74. Where an archive is missing (some
//! distributions have them in a package of their own) or the linker takes none of this, the command is linked as ever.
//!
//! rustc decides that it links dynamically and asks for `-lc` and `-lgcc_s`. Linker scripts of these names, in a folder that is
//! searched first, name the archives in their place.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// What rustc asks for, and the archives that the linker is given, those of a group in whichever order they need each other. What
/// glibc has in one library since 2.34 stood in several before.
const LIBRARIES: [(&str, &str); 7] = [
    ("libgcc_s.so", "libgcc_eh.a libgcc.a libc.a"),
    ("libc.so", "libc.a libgcc_eh.a libgcc.a"),
    ("libm.so", "libm.a"),
    ("libpthread.so", "libpthread.a"),
    ("libdl.so", "libdl.a"),
    ("librt.so", "librt.a"),
    ("libutil.so", "libutil.a"),
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=MEMLENS_LINK");
    let is_glibc = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|value| value == "gnu");
    let is_wanted = env::var("MEMLENS_LINK").map_or(true, |value| value != "dynamic");
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    if is_glibc && is_wanted && write_scripts(&folder).is_ok() && links(&folder) {
        println!("cargo:rustc-link-arg-bins=-static-pie");
        println!("cargo:rustc-link-arg-bins=-L{}", folder.display());
    }
}

fn write_scripts(folder: &Path) -> io::Result<()> {
    LIBRARIES.iter().try_for_each(|(name, archives)| fs::write(folder.join(name), format!("GROUP({archives})\n")))
}

/// Whether a program of one line can be linked and run so.
fn links(folder: &Path) -> bool {
    let (source, program) = (folder.join("trial.c"), folder.join("trial"));
    let linker = env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    let is_written = fs::write(&source, "int main(void) { return 0; }\n").is_ok();
    let mut link = Command::new(linker);
    link.arg(&source).arg("-o").arg(&program).args(["-Wl,-Bdynamic", "-lgcc_s", "-lm", "-lc"]);
    link.args(["-pie", "-nodefaultlibs", "-static-pie", "-L"]).arg(folder);
    let is_done = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    is_written && is_done(&mut link) && is_done(&mut Command::new(&program))
}
