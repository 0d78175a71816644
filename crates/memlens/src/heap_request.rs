//! `memlens heap PID`: a snapshot of a running program, taken by itself.
//!
//! A folder that only the program's user may enter gets the extension module and a script; the program's threads are asked to run it
//! (`memlens_remote`). The first that comes to a safe point loads the module, which forks a child; the child walks the heap and
//! leaves the snapshot in the folder. Whatever happens, the requests are taken back and the folder goes.
//!
//! ```text
//!  asked ──taken──► begun ──walking (locked while the child lives)──► snapshot | error
//!    │ no safe point in time: taken back
//! ```
use crate::interruption::Interruption;
use anyhow::{Context, bail};
use memlens_remote::{Interpreter, Process, Withdrawn};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The extension's file name in a build folder, and in the package.
const MODULE: [&str; 2] = ["lib_native.so", "_native.abi3.so"];
const SCRIPT: &str = include_str!("heap_request.py");
/// How often the folder is looked at.
const PAUSE: Duration = Duration::from_millis(5);

/// A snapshot that the program has left.
pub struct Taken {
    // In this order: the folder goes before a signal can end us.
    folder: Folder,
    _interruption: Interruption,
}

impl Taken {
    /// Its file.
    pub fn path(&self) -> PathBuf {
        self.folder.path.join("snapshot")
    }
}

/// Has the process take a snapshot of itself. `limit`: how long it may take until one of its threads comes to a safe point.
pub fn take(pid: u32, limit: Duration) -> anyhow::Result<Taken> {
    let process = Process::open(pid)?;
    let interpreter = Interpreter::of(&process)?;
    let module = find_module()?;
    let interruption = Interruption::hold_back()?;
    let folder = Folder::make(&process)?;
    folder.fill(&module)?;
    let request = Request { process: &process, interpreter, folder: &folder, interruption: &interruption, limit };
    request.run()?;
    Ok(Taken { folder, _interruption: interruption })
}

/// One under way.
struct Request<'r> {
    process: &'r Process,
    interpreter: Interpreter<'r>,
    folder: &'r Folder,
    interruption: &'r Interruption,
    limit: Duration,
}

impl Request<'_> {
    fn run(&self) -> anyhow::Result<()> {
        self.interpreter.request(&self.folder.inside.join("request.py"))?;
        let begun = self.wait_for_begin();
        // From the other threads as well, if one has begun.
        let withdrawn = self.interpreter.withdraw();
        if !begun? && withdrawn? == Withdrawn::Whole {
            let (pid, limit) = (self.process.pid(), self.limit.as_secs());
            bail!(
                "process {pid} ran no Python code in {limit} s (it waits, or computes in C code); nothing is left in it"
            );
        }
        self.wait_for_end()
    }

    /// Whether a thread has begun in time.
    fn wait_for_begin(&self) -> anyhow::Result<bool> {
        let started = Instant::now();
        while !self.folder.has("taken") {
            if started.elapsed() > self.limit {
                return Ok(false);
            }
            self.pause()?;
        }
        Ok(true)
    }

    fn wait_for_end(&self) -> anyhow::Result<()> {
        let pid = self.process.pid();
        let mut has_died = false;
        loop {
            if self.folder.has("snapshot") {
                return Ok(());
            }
            if self.folder.has("error") {
                let message = fs::read_to_string(self.folder.path.join("error")).unwrap_or_default();
                bail!("process {pid} could not take a snapshot: {message}");
            }
            // What the dead leave they leave before they die.
            if has_died {
                bail!("process {pid}, or the child that it forked for the snapshot, was ended before it was done");
            }
            has_died = if self.folder.has("walking") { !self.folder.is_walked() } else { !self.process.is_alive() };
            self.pause()?;
        }
    }

    fn pause(&self) -> anyhow::Result<()> {
        if self.interruption.comes_within(PAUSE) {
            bail!("interrupted");
        }
        if !self.process.is_alive() && !self.folder.has("walking") && !self.folder.has("error") {
            bail!("process {} has ended", self.process.pid());
        }
        Ok(())
    }
}

/// A folder that we and the program can reach. Dropped, it is removed.
struct Folder {
    /// As we see it.
    path: PathBuf,
    /// As the program sees it.
    inside: PathBuf,
    /// User and group of the program.
    owner: (u32, u32),
}

impl Folder {
    /// In the program's own folder for temporary files, else in the usual places.
    fn make(process: &Process) -> anyhow::Result<Self> {
        let own = process.variable("TMPDIR").filter(|path| path.starts_with('/'));
        let places = own.into_iter().chain(["/tmp", "/var/tmp", "/dev/shm"].map(str::to_owned));
        let owner = fs::metadata(format!("/proc/{}", process.pid())).map(|owner| (owner.uid(), owner.gid()))?;
        let name = format!("memlens-heap-{}-{}", process.pid(), std::process::id());
        let mut failure = None;
        for place in places {
            let inside = Path::new(&place).join(&name);
            let path = process.seen_from_here(&inside);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    let folder = Self { path, inside, owner };
                    folder.give(&folder.path)?;
                    return Ok(folder);
                }
                Err(error) => failure = Some((path, error)),
            }
        }
        let (path, error) = failure.context("no folder for temporary files")?;
        bail!("cannot make {}: {error}", path.display())
    }

    /// Root makes files for the program's user.
    fn give(&self, path: &Path) -> anyhow::Result<()> {
        if fs::metadata(path)?.uid() != self.owner.0 {
            chown(path, Some(self.owner.0), Some(self.owner.1))
                .with_context(|| format!("cannot give {} to the program's user", path.display()))?;
        }
        Ok(())
    }

    fn fill(&self, module: &Path) -> anyhow::Result<()> {
        let copy = self.path.join(MODULE[1]);
        fs::copy(module, &copy).with_context(|| format!("cannot copy {} to {}", module.display(), copy.display()))?;
        self.give(&copy)?;
        let script = self.path.join("request.py");
        fs::write(&script, self.script(&name_of(module)?))
            .with_context(|| format!("cannot write {}", script.display()))?;
        self.give(&script)
    }

    /// The interpreter runs a request under the name `<string>`: here our code gets a name by which its frames are known as ours.
    fn script(&self, module: &str) -> String {
        let [source, folder] = [SCRIPT, &self.inside.to_string_lossy()].map(hexadecimal);
        let text = |digits: &str| format!("bytes.fromhex('{digits}').decode()");
        let (source, folder) = (text(&source), text(&folder));
        let names = format!("{{'FOLDER': {folder}, 'MODULE': '{module}'}}");
        format!("exec(compile({source}, {folder} + '/request', 'exec'), {names})\n")
    }

    fn has(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// Whether the child that walks the heap is alive: it holds a lock.
    fn is_walked(&self) -> bool {
        let Ok(file) = File::open(self.path.join("walking")) else {
            return false;
        };
        flock(file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // If it cannot be removed, there is nobody left to tell.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The name by which a module of these very bytes is found again in a program that was asked before.
fn name_of(module: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    Ok(format!("_memlens_{:016x}", hasher.finish()))
}

fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// The extension module: beside this executable in a build folder, else in the package that it was installed with.
fn find_module() -> anyhow::Result<PathBuf> {
    let executable =
        std::env::current_exe().and_then(|path| path.canonicalize()).context("cannot tell where memlens is")?;
    let folder = executable.parent().context("cannot tell where memlens is")?;
    let prefix = folder.join("..");
    let packages =
        ["lib", "lib64"].into_iter().filter_map(|name| fs::read_dir(prefix.join(name)).ok()).flatten().flatten();
    let packages = packages.map(|entry| entry.path().join("site-packages")).chain([prefix.clone()]);
    let mut places = vec![folder.join(MODULE[0])];
    places.extend(packages.map(|packages| packages.join("memlens").join(MODULE[1])));
    let found = places.into_iter().find(|place| place.is_file());
    found.with_context(|| {
        format!(
            "the extension module is missing: no {} beside {} (cargo build --release or pip install brings it)",
            MODULE[0],
            executable.display()
        )
    })
}
