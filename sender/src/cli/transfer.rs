//! `policy import` and `policy export`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _};

use crate::policy::export::{PROVIDERS, export as documents_of};
use crate::policy::import::{Answers, Cloud, Input, import as policy_of};
use crate::policy::{PolicyFile, Provider};

/// The largest document that is read: an account has at most some ten thousand sessions.
const MAX_BYTES: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// Whose documents they are
    #[arg(value_name = "CLOUD", value_parser = clouds())]
    cloud: Cloud,
    /// JSON documents, together or apart: sessions, filters, rules, targets, and those that tell addresses (network
    /// interfaces, load balancers, subnets); - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Let VALUE stand for the cloud's ID: an interface, an address or a network of this host for a source, HOST[:PORT] for
    /// a target
    #[arg(long = "map", value_name = "ID=VALUE", value_parser = answer)]
    answers: Vec<(String, String)>,
    /// Write the policy to FILE; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// End with exit code 1 if the policy lacks anything that the documents say
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// For whom; the policy's own provider
    #[arg(value_name = "PROVIDER", value_parser = providers())]
    provider: Provider,
    /// The policy
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// Write the documents, and the script that uses them, into DIRECTORY, which may not have other files
    #[arg(short, long, value_name = "DIRECTORY")]
    output: PathBuf,
    /// End with exit code 1 if the documents lack anything that the policy says
    #[arg(long)]
    strict: bool,
}

/// A file that was named and cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read '{}': {source} (expected JSON documents of at most 64 MiB)", file.display())]
pub(super) struct Unreadable {
    file: PathBuf,
    source: std::io::Error,
}

fn clouds() -> impl clap::builder::TypedValueParser<Value = Cloud> {
    PossibleValuesParser::new(Cloud::ALL.map(Cloud::name)).try_map(|name| name.parse::<Cloud>().map_err(|()| "unknown"))
}

fn providers() -> impl clap::builder::TypedValueParser<Value = Provider> {
    // Those without documents are not offered, and told as that by whoever names one.
    let value = |provider: Provider| PossibleValue::new(provider.name()).hide(!PROVIDERS.contains(&provider));
    PossibleValuesParser::new(Provider::ALL.map(value)).try_map(|name| name.parse::<Provider>().map_err(|()| "unknown"))
}

fn answer(text: &str) -> Result<(String, String), String> {
    // Identifiers of Alibaba's and AWS's load balancers have no '=', values of interfaces and hosts neither.
    match text.split_once('=') {
        Some((id, value)) if !id.is_empty() && !value.is_empty() => Ok((id.to_owned(), value.to_owned())),
        _ => Err("expected ID=VALUE".to_owned()),
    }
}

/// Runs `policy import`.
pub(super) fn import(arguments: &ImportArguments) -> anyhow::Result<()> {
    let mut answers = Answers::default();
    for (id, value) in &arguments.answers {
        if !answers.add(id, value) {
            return Err(crate::SendError::Setting(format!("--map {id}=… is given twice, with different values")).into());
        }
    }
    let inputs = arguments.files.iter().map(|file| read(file)).collect::<Result<Vec<Input>, Unreadable>>()?;
    let imported = policy_of(arguments.cloud, &inputs, &answers)?;
    for remark in imported.remarks.iter() {
        let kind = if remark.lost { "lacking" } else { "note" };
        let _ = writeln!(std::io::stderr(), "{kind}: {remark}");
    }
    let text = imported.document.to_toml().context("cannot write the policy as TOML")?;
    let text = format!("# Made of documents of {} by `vxtap-sender policy import`.\n\n{text}", arguments.cloud);
    // The cloud may have more than its documents say that it takes, and a document may have been cut.
    let unusable = PolicyFile::parse(&arguments.output.display().to_string(), &text).err();
    if let Some(error) = &unusable {
        let _ = writeln!(std::io::stderr(), "lacking: the policy cannot be used as it is:\n{error}");
    }
    if arguments.output.as_os_str() == "-" {
        std::io::stdout().write_all(text.as_bytes()).context("cannot write the policy to standard output")?;
    } else {
        replace(&arguments.output, &text)
            .with_context(|| format!("cannot write the policy to '{}'", arguments.output.display()))?;
    }
    if arguments.strict && (unusable.is_some() || imported.remarks.any_lost()) {
        bail!("the policy lacks what is told above (--strict)");
    }
    Ok(())
}

/// Runs `policy export`.
pub(super) fn export(arguments: &ExportArguments) -> anyhow::Result<()> {
    let policy = PolicyFile::load(&arguments.policy)?;
    let exported = documents_of(arguments.provider, &policy.document)?;
    for (kind, remarks) in [("lacking", &exported.lacks), ("note", &exported.notes)] {
        for remark in remarks {
            let text = policy.problem(&remark.about, &remark.text);
            let _ = writeln!(std::io::stderr(), "{kind}: {}:{text}", arguments.policy.display());
        }
    }
    let directory = &arguments.output;
    let failed = || format!("cannot write the documents into '{}'", directory.display());
    fs::create_dir_all(directory).with_context(failed)?;
    if fs::read_dir(directory).with_context(failed)?.next().is_some() {
        let text = format!("'{}' has files in it already (expected a new or an empty directory)", directory.display());
        return Err(crate::SendError::Setting(text).into());
    }
    for (name, document) in &exported.documents {
        let text = serde_json::to_string_pretty(document).with_context(failed)?;
        fs::write(directory.join(name), text + "\n").with_context(failed)?;
    }
    fs::write(directory.join("create.sh"), &exported.script).with_context(failed)?;
    if arguments.strict && !exported.lacks.is_empty() {
        bail!("the documents lack what is told above (--strict)");
    }
    Ok(())
}

fn read(file: &Path) -> Result<Input, Unreadable> {
    let unreadable = |source| Unreadable { file: file.to_owned(), source };
    let mut bytes = Vec::new();
    let taken = if file.as_os_str() == "-" {
        std::io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(file).and_then(|open| open.take(MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    taken.map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(unreadable(std::io::Error::other("it is larger than that")));
    }
    let text = String::from_utf8(bytes).map_err(|_| unreadable(std::io::Error::other("it is no text in UTF-8")))?;
    Ok(Input { file: file.display().to_string(), text })
}

/// Puts `text` in the place of what `file` has, at once: a sender that watches it sees all of it or nothing.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    // What is no regular file, as /dev/null, is written to and stays what it is.
    if fs::metadata(file).is_ok_and(|known| !known.is_file()) {
        return fs::write(file, text);
    }
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = file.with_file_name(name);
    fs::write(&new, text)?;
    fs::rename(&new, file)
}
