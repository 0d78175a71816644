//! `memlens run`: starts a program, records it, writes the capture and says what came of it.
//!
//! memlens *is* the collector: it lives beside the program, which can end in any way it likes. Should memlens be the one to
//! die, the program goes on.
use crate::agent_library;
use crate::closing;
use crate::interpreter::Interpreter;
use crate::launch::{Ended, Program, exit_status};
use crate::limit;
use crate::output_file::OutputFile;
use crate::own_heap;
use crate::signal::{Inherited, SignalWatch};
use crate::target::Target;
use anyhow::{Context, Result, bail};
use memlens_capture::Writer;
use memlens_collector::{Collector, Newcomer, Server, Step, version_text};
use memlens_format::capture::{Capture, Meta};
use memlens_format::shared::{PYTHON_FREE_THREADED, PYTHON_NONE, PYTHON_SUPPORTED, PYTHON_UNSUPPORTED, SHARED_VERSION};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Record a program, then print a summary.
#[derive(clap::Args)]
#[command(override_usage = "memlens run [OPTIONS] <SCRIPT | -m MODULE | -c CODE> [ARGS]...")]
pub struct Arguments {
    /// The capture to write [default: memlens-<script>-<pid>.mlens in this folder; the number is memlens' own process id]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    /// The interpreter, as a path or a name on PATH [default: python3, else the active virtual environment's]
    #[arg(long, value_name = "PATH")]
    python: Option<OsString>,
    /// Tell asyncio tasks apart: the running task's name is the outermost frame of a stack
    #[arg(long)]
    tasks: bool,
    /// Print nothing at the end but errors
    #[arg(short, long)]
    quiet: bool,
    /// The program with its own arguments, as the interpreter takes them
    #[arg(value_name = "PROGRAM", hide = true, last = true)]
    program: Vec<OsString>,
}

/// Runs the command. The exit status is the program's; an error is about input, and nothing was left behind.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let target = Target::parse(arguments.program)?;
    target.check()?;
    let interpreter = Interpreter::find(arguments.python.as_deref())?;
    let agent = agent_library::find()?;
    // First of all, for a limit on the size of files must not end memlens while it makes the capture's file.
    let signals = SignalWatch::begin().context("cannot watch for signals")?;
    limit::check_descriptors()?;
    let mut output = OutputFile::create(&destination(arguments.output, &target), arguments.force)?;
    let Recorded { ended, capture, writer } =
        record(&target, &interpreter, agent, arguments.tasks, signals, &mut output)?;
    let status = ExitCode::from(exit_status(ended.exit));
    let capture = match capture {
        Ok(capture) => capture,
        Err(reason) => {
            eprintln!("memlens: nothing could be recorded: {reason}");
            return Ok(status);
        }
    };
    let destination = output.destination().to_owned();
    match output.write(writer, &capture) {
        // Nobody may be reading standard error any more; the capture is written all the same.
        Ok(file_bytes) if !arguments.quiet => drop(closing::print(capture, &destination, file_bytes)),
        Ok(_) => {}
        // The program's own failure matters more than that of writing about it.
        Err(error) if exit_status(ended.exit) != 0 => eprintln!("memlens: {error:#}"),
        Err(error) => return Err(error),
    }
    Ok(status)
}

/// A program that has run to its end.
struct Recorded {
    ended: Ended,
    /// The capture, or why there is none.
    capture: Result<Capture, String>,
    /// Writes it.
    writer: Writer,
}

/// Runs the program to its end. An error means that it has not run at all.
fn record(
    target: &Target,
    interpreter: &Interpreter,
    agent: PathBuf,
    tells_tasks: bool,
    (signals, inherited): (SignalWatch, Inherited),
    output: &mut OutputFile,
) -> Result<Recorded> {
    let mut collector = Collector::new(Server::bind()?, interpreter.is_script);
    if tells_tasks {
        collector.tell_tasks();
    }
    let preload = agent_library::preload(agent);
    let program = Program::start(interpreter, target.words(), &preload, collector.server_name(), inherited)?;
    // What can be done while the program is loaded. Should the reserve not be given back, that is tried again, and said, when the capture is written.
    let watched = collector.watch(program.pid().as_raw_pid().unsigned_abs());
    let _ = output.give_back_reserve();
    own_heap::make_ready();
    let mut writer = Writer::default();
    let served = watched.and_then(|()| serve(&mut collector, &program, &signals, &mut writer));
    if let Ok(Some(newcomer)) = &served {
        program.kill();
        program.wait()?;
        bail!(refusal_text(interpreter, newcomer));
    }
    let ended = program.wait().context("cannot learn how the program ended")?;
    if let Err(error) = served {
        return Ok(Recorded { ended, capture: Err(error.to_string()), writer });
    }
    let recording = collector.finish(meta(target, interpreter, &ended), ended.high_water_bytes);
    if recording.lacks_tasks {
        eprintln!("memlens: --tasks: {NO_TASKS}");
    }
    let capture = match (recording.is_begun, recording.failure) {
        (true, _) => Ok(recording.capture),
        (false, Some(error)) => Err(error.to_string()),
        (false, None) => Err(unreached_text(interpreter)),
    };
    Ok(Recorded { ended, capture, writer })
}

/// Serves the program until its end, or until it proves to be one that cannot be recorded.
fn serve(
    collector: &mut Collector,
    program: &Program,
    signals: &SignalWatch,
    writer: &mut Writer,
) -> Result<Option<Newcomer>, memlens_collector::Error> {
    loop {
        match collector.wait(signals.descriptor())? {
            Step::Woken => signals.forward_to(program.pid()),
            Step::RootEnding => {
                // Most of the capture is made while the kernel takes the program apart. Should that fail, it is tried again with the whole.
                let _ = writer.prepare_tables(collector.conclude());
            }
            Step::RootEnded => return Ok(None),
            Step::Refused(newcomer) => return Ok(Some(newcomer)),
        }
    }
}

fn meta(target: &Target, interpreter: &Interpreter, ended: &Ended) -> Meta {
    let folder = std::env::current_dir().unwrap_or_default();
    Meta {
        command: target.words().iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        interpreter: interpreter.path.display().to_string(),
        memlens_version: env!("CARGO_PKG_VERSION").to_owned(),
        working_directory: folder.display().to_string(),
        exit: ended.exit,
        ..Meta::default()
    }
}

fn destination(output: Option<PathBuf>, target: &Target) -> PathBuf {
    output.unwrap_or_else(|| format!("memlens-{}-{}.mlens", target.short_name(), std::process::id()).into())
}

/// Said at the end, for it shows only when the program imports asyncio.
const NO_TASKS: &str =
    "this asyncio is not as CPython's own is built: tasks are not told apart (in one process at least)";

fn unreached_text(interpreter: &Interpreter) -> String {
    format!(
        "no Python started by {} loaded the agent (a static executable, or LD_PRELOAD was removed)",
        interpreter.path.display()
    )
}

/// Why an interpreter is not recorded, in one line that names it and its version.
fn refusal_text(interpreter: &Interpreter, newcomer: &Newcomer) -> String {
    let path = newcomer.executable.as_deref().unwrap_or(&interpreter.path).display();
    let version = match newcomer.python_version {
        0 => String::new(),
        version => format!(" {}", version_text(version)),
    };
    if newcomer.agent_version != SHARED_VERSION {
        return "the agent belongs to another version of memlens: the installation is mixed".to_owned();
    }
    match newcomer.python_kind {
        PYTHON_NONE => format!("{path} is not a Python interpreter"),
        PYTHON_UNSUPPORTED => {
            format!("{path} is CPython{version}, which memlens cannot record (3.8 to 3.15 it can)")
        }
        PYTHON_FREE_THREADED => {
            format!(
                "{path} is a free-threaded CPython{version} in a build that memlens cannot record (3.13 to 3.15 as released it can)"
            )
        }
        PYTHON_SUPPORTED if newcomer.lacks_tasks => {
            format!(
                "{path} is CPython{version} in a build whose asyncio tasks memlens cannot tell apart: leave out --tasks"
            )
        }
        PYTHON_SUPPORTED => format!("{path} cannot be recorded"),
        _ => format!("{path} is a Python{version} other than CPython, which memlens cannot record"),
    }
}
