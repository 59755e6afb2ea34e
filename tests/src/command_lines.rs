//! The command lines of our programs that a document shows, as arguments.

use crate::programs::Program;

/// A command line in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// Line of the document, from 1, where it begins (of a paragraph, where that begins).
    pub line: usize,
    /// The program that is started.
    pub program: Program,
    /// What it is given.
    pub arguments: Vec<String>,
}

/// Blocks with these tags hold commands.
const SHELL: [&str; 4] = ["", "text", "sh", "console"];

/// Every start of one of our programs in `markdown`: in blocks of commands, and between backticks in running text. What has
/// an ellipsis in it is the name of a command and no command line.
pub fn command_lines(markdown: &str) -> Vec<CommandLine> {
    let mut found = Vec::new();
    let mut fence: Option<&str> = None;
    let mut paragraph = Text::default();
    let mut command = Text::default();
    for (number, line) in markdown.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        if let Some(tag) = line.trim_start().strip_prefix("```") {
            paragraph.end(&mut found, spans);
            command.end(&mut found, |text| vec![text.to_owned()]);
            fence = if fence.is_some() { None } else { Some(tag.trim()) };
        } else if let Some(tag) = fence {
            if SHELL.contains(&tag) {
                let text = line.trim_start();
                let text = text.strip_prefix("$ ").unwrap_or(text);
                let goes_on = text.strip_suffix('\\');
                command.add(number, goes_on.unwrap_or(text));
                if goes_on.is_none() {
                    command.end(&mut found, |text| vec![text.to_owned()]);
                }
            }
        } else if line.trim().is_empty() {
            paragraph.end(&mut found, spans);
        } else {
            paragraph.add(number, line);
        }
    }
    paragraph.end(&mut found, spans);
    found
}

/// Lines that belong together.
#[derive(Default)]
struct Text {
    line: usize,
    text: String,
}

impl Text {
    fn add(&mut self, line: usize, text: &str) {
        if self.text.is_empty() {
            self.line = line;
        }
        self.text.push_str(text);
        self.text.push(' ');
    }

    fn end(&mut self, found: &mut Vec<CommandLine>, split: impl Fn(&str) -> Vec<String>) {
        for text in split(&self.text).iter().filter(|text| !text.contains('…')) {
            let of_shell = started(text).into_iter();
            found.extend(of_shell.map(|(program, arguments)| CommandLine { line: self.line, program, arguments }));
        }
        self.text.clear();
    }
}

/// What stands between backticks.
fn spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The programs of ours that a line of shell starts.
fn started(shell: &str) -> Vec<(Program, Vec<String>)> {
    let words = shlex::split(shell).unwrap_or_else(|| shell.split_whitespace().map(str::to_owned).collect());
    let ends = |word: &str| matches!(word, "|" | "||" | "&&" | ";" | "&");
    words.split(|word| ends(word)).filter_map(one).collect()
}

fn one(words: &[String]) -> Option<(Program, Vec<String>)> {
    let of_name = |name: &str| Program::ALL.into_iter().find(|program| program.name() == name);
    let is_setting = |word: &&String| {
        word.split_once('=').is_some_and(|(name, _)| name.bytes().all(|c| c.is_ascii_uppercase() || c == b'_'))
    };
    let settings = words.iter().take_while(is_setting).count();
    let mut words = words[settings..].iter().map(String::as_str).skip_while(|word| *word == "sudo");
    let program = match words.next()? {
        "cargo" => {
            let before: Vec<&str> = words.by_ref().take_while(|word| *word != "--").collect();
            let package = before.iter().position(|word| matches!(*word, "-p" | "--bin"))?;
            of_name(before.get(package + 1)?)?
        }
        name => of_name(name.rsplit('/').next().unwrap_or(name))?,
    };
    let mut arguments = Vec::new();
    while let Some(word) = words.next() {
        match word {
            ">" | ">>" | "<" | "2>" => drop(words.next()),
            _ if word.starts_with(['>', '<']) || word.starts_with("2>") => {}
            _ => arguments.push(word.to_owned()),
        }
    }
    // The name alone is no command line.
    (!arguments.is_empty()).then_some((program, arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_blocks_and_in_text_with_the_words_that_the_shell_gives_them() {
        let document = "Text with `vxtap-tui --connect URL` and `vxtap-collector` and\n`vxtap-sender replay …`.\n\n```sh\n$ A=1 sudo \
                        vxtap-collector run --write x \\\n    --capture-filter 'not port 4789' > out | tee y\n```\n```toml\nvxtap-tui = \
                        \"no\"\n```\n```text\ncurl x | vxtap-collector read - && cargo run --release -p vxtap-sender -- generate --to h\n```\n";
        let line = |line, program, arguments: &[&str]| CommandLine {
            line,
            program,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        };
        assert_eq!(
            command_lines(document),
            [
                line(1, Program::Tui, &["--connect", "URL"]),
                line(5, Program::Collector, &["run", "--write", "x", "--capture-filter", "not port 4789"]),
                line(12, Program::Collector, &["read", "-"]),
                line(12, Program::Sender, &["generate", "--to", "h"]),
            ]
        );
    }
}
