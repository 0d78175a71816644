//! What is to be recorded: a script, a module or a piece of code, with the arguments that are its own.
use anyhow::{Result, bail};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The program as the interpreter's command line has it, argument by argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    kind: Kind,
    words: Vec<OsString>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Script(OsString),
    Module(OsString),
    Code,
}

impl Target {
    /// Reads `SCRIPT ...`, `-m MODULE ...` or `-c CODE ...` the way the interpreter does (`-mMODULE` and `-cCODE` are one word
    /// to it as well). What follows is the program's.
    pub fn parse(words: Vec<OsString>) -> Result<Self> {
        let Some(first) = words.first() else {
            bail!("nothing to run: name a script, or -m and a module, or -c and some code");
        };
        let kind = match first.as_bytes() {
            b"-m" => Kind::Module(second_word(&words, "-m needs the name of a module")?),
            b"-c" => {
                second_word(&words, "-c needs some code")?;
                Kind::Code
            }
            [b'-', b'm', module @ ..] => Kind::Module(OsStr::from_bytes(module).to_owned()),
            [b'-', b'c', ..] => Kind::Code,
            b"-" => Kind::Script(first.clone()),
            [b'-', ..] => bail!("{} is not an option of memlens run", first.display()),
            _ => Kind::Script(first.clone()),
        };
        Ok(Self { kind, words })
    }

    /// Refuses a script that is not there. Whether a module is there is for the interpreter to say.
    pub fn check(&self) -> Result<()> {
        match &self.kind {
            Kind::Script(script) if script != "-" && !Path::new(script).exists() => {
                bail!("no such script: {}", script.display())
            }
            _ => Ok(()),
        }
    }

    /// The interpreter's arguments.
    pub fn words(&self) -> &[OsString] {
        &self.words
    }

    /// A short name that can be part of a file name: the script's without its extension, the module's, or "c".
    pub fn short_name(&self) -> String {
        match &self.kind {
            Kind::Script(script) if script == "-" => "stdin".to_owned(),
            Kind::Script(script) => Path::new(script)
                .file_stem()
                .map_or_else(|| "script".to_owned(), |stem| stem.to_string_lossy().into_owned()),
            Kind::Module(module) => module.to_string_lossy().replace('/', "_"),
            Kind::Code => "c".to_owned(),
        }
    }
}

fn second_word(words: &[OsString], message: &'static str) -> Result<OsString> {
    match words.get(1) {
        Some(word) => Ok(word.clone()),
        None => bail!(message),
    }
}

/// Puts `--` before the program's part of a command line of `memlens run`: from the first word on that is neither an option
/// of memlens nor an option's value, everything belongs to the program, whatever it looks like. Other command lines stay as
/// they are.
pub fn separate_program(words: impl Iterator<Item = OsString>, command: &clap::Command) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    let run = command.find_subcommand("run").filter(|_| words.get(1).is_some_and(|word| word == "run"));
    if let Some(at) = run.and_then(|run| program_start(&words, run)) {
        words.insert(at, "--".into());
    }
    words
}

fn program_start(words: &[OsString], run: &clap::Command) -> Option<usize> {
    let takes_value = |matches: &dyn Fn(&clap::Arg) -> bool| {
        run.get_arguments().any(|argument| argument.get_action().takes_values() && matches(argument))
    };
    let mut at = 2;
    while let Some(word) = words.get(at) {
        match word.as_bytes() {
            b"--" => return None,
            b"-" | [b'-', b'm' | b'c', ..] => return Some(at),
            [b'-', b'-', name @ ..] => {
                let is_whole = takes_value(&|argument| argument.get_long().is_some_and(|long| long.as_bytes() == name));
                at += usize::from(is_whole);
            }
            // Only the last of a cluster of short options can have its value in the next word.
            [b'-', cluster @ ..] => {
                let is_short = |byte: &u8| {
                    takes_value(&|argument| argument.get_short().is_some_and(|short| short == char::from(*byte)))
                };
                at += usize::from(cluster.iter().position(is_short) == cluster.len().checked_sub(1));
            }
            _ => return Some(at),
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short_name(words: &[&str]) -> String {
        let words = words.iter().map(Into::into).collect();
        Target::parse(words).unwrap().short_name()
    }

    #[test]
    fn names_for_captures() {
        assert_eq!(short_name(&["examples/flights.py", "-m"]), "flights");
        assert_eq!(short_name(&["-m", "json.tool"]), "json.tool");
        assert_eq!(short_name(&["-mjson.tool"]), "json.tool");
        assert_eq!(short_name(&["-c", "pass"]), "c");
        assert_eq!(short_name(&["-cpass"]), "c");
        assert_eq!(short_name(&["."]), "script");
    }

    #[test]
    fn other_options_are_refused() {
        assert!(Target::parse(vec!["-X".into(), "dev".into()]).is_err());
        assert!(Target::parse(vec!["-m".into()]).is_err());
        assert!(Target::parse(Vec::new()).is_err());
    }
}
