//! The pages of all captures, read in the order of time.
//!
//! Pages are read in the order of their first record's time. Before a page is read, every record of an earlier time has been
//! read, for all pages that are not read yet begin later: such records are written, the others wait. So records come out in
//! order, however files and pages overlap, as long as those that wait fit their bound
//! ([`MAX_WAITING_BYTES`](crate::output::MAX_WAITING_BYTES)).

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use vxtap_wire::FlowKey;

use crate::builder::Page;
use crate::capture::{Beginning, Content, Damage, Descriptions, Fault, Record, Section, Visit, Walker};
use crate::input::Input;
use crate::output::{Output, Place};
use crate::query::{Flows, Query};
use crate::tunnel::TunnelFacts;

/// So many captures are open at once.
const MAX_OPEN: usize = 16;

/// A capture with records that may be wanted.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) path: PathBuf,
    /// What its index says of its interfaces; nothing where all of it is read.
    pub(crate) descriptions: Descriptions,
    /// What the wanted flow may be.
    pub(crate) flows: Vec<FlowKey>,
    pub(crate) stretch: Stretch,
}

/// Which part of a capture is read.
#[derive(Debug)]
pub(crate) enum Stretch {
    /// These pages.
    Pages(Vec<Page>),
    /// All of it, from the beginning: it can have no index.
    Whole,
}

/// A page or a whole file, and its place in the order of reading.
#[derive(Clone, Copy)]
struct Step {
    from_ns: u64,
    file: u32,
    page: Option<Page>,
}

/// Reads what was planned.
pub(crate) struct Sweep<'a, W> {
    query: &'a Query,
    candidates: Vec<Candidate>,
    /// Interfaces by file, section and number.
    known: Vec<Vec<Vec<Known>>>,
    /// The one used last comes last.
    open: Vec<(u32, Input)>,
    output: Output<W>,
    walker: Walker,
    examined: u64,
    stop: Option<&'a AtomicBool>,
}

/// An interface that records came from.
struct Known {
    tunnel: TunnelFacts,
    /// Its number in the output, once it has a record there.
    number: Option<u32>,
}

/// What came of a sweep.
#[derive(Debug)]
pub(crate) struct Swept {
    pub(crate) bytes_read: u64,
    pub(crate) examined: u64,
    pub(crate) written: u64,
    pub(crate) late: u64,
    /// Files that could not be read as planned.
    pub(crate) damaged: Vec<(PathBuf, Damage)>,
}

impl<'a, W: Write> Sweep<'a, W> {
    pub(crate) fn new(query: &'a Query, candidates: Vec<Candidate>, to: W) -> Self {
        let known = candidates.iter().map(|_| Vec::new()).collect();
        let (output, walker) = (Output::new(to), Walker::default());
        Self { query, candidates, known, open: Vec::new(), output, walker, examined: 0, stop: None }
    }

    /// Reads no further page once `stop` is set.
    pub(crate) const fn stopped_by(mut self, stop: &'a AtomicBool) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Reads all and writes what is wanted. An error where it cannot be written.
    pub(crate) fn run(mut self) -> std::io::Result<Swept> {
        let steps = self.steps();
        let mut damaged: Vec<(u32, Damage)> = Vec::new();
        for step in steps {
            self.output.write_before(step.from_ns);
            if self.output.has_failed() || self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                break;
            }
            if let Err(damage) = self.read(&step) {
                // One fault of a file is enough to tell.
                if damaged.iter().all(|(file, _)| *file != step.file) {
                    damaged.push((step.file, damage));
                }
            }
        }
        self.output.finish()?;
        let path = |file: u32| self.candidates.get(file as usize).map(|candidate| candidate.path.clone());
        Ok(Swept {
            bytes_read: self.walker.bytes_read,
            examined: self.examined,
            written: self.output.written,
            late: self.output.late,
            damaged: damaged.into_iter().filter_map(|(file, damage)| Some((path(file)?, damage))).collect(),
        })
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (file, candidate) in (0..).zip(&self.candidates) {
            let Stretch::Pages(pages) = &candidate.stretch else {
                // Its times are not known.
                steps.push(Step { from_ns: 0, file, page: None });
                continue;
            };
            let mut least_ns = u64::MAX;
            for page in pages.iter().rev() {
                least_ns = least_ns.min(page.range.first_ns);
                // A decoder only goes forward, so of a compressed file no page may come before those in front of it.
                let from_ns = if crate::is_compressed(&candidate.path) { least_ns } else { page.range.first_ns };
                steps.push(Step { from_ns, file, page: Some(*page) });
            }
        }
        steps.sort_by_key(|step| (step.from_ns, step.file, step.page.map_or(0, |page| page.range.offset)));
        steps
    }

    fn read(&mut self, step: &Step) -> Result<(), Damage> {
        let file = step.file as usize;
        let (Some(candidate), Some(known)) = (self.candidates.get_mut(file), self.known.get_mut(file)) else {
            return Ok(());
        };
        let range = step.page.map_or(0..u64::MAX, |page| page.range.offset..page.end());
        let io = |error| Damage { offset: range.start, what: Fault::Io(error) };
        let input = match input_of(&mut self.open, step.file, &candidate.path) {
            // Deleted since it was prepared: nothing is wrong with it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            input => input.map_err(io)?,
        };
        let mut start = range.start;
        if step.page.is_none()
            && let Beginning::Classic(descriptions, header) = Descriptions::begin(input).map_err(io)?
        {
            candidate.descriptions = descriptions;
            start = header.len() as u64;
        }
        let listed = step.page.is_some_and(|page| !page.anything);
        let mut reading = Reading {
            query: self.query,
            flows: if listed { Flows::These(&candidate.flows) } else { Flows::Any },
            descriptions: &mut candidate.descriptions,
            section: step.page.map(|page| page.section),
            known,
            file: step.file,
            last_ns: 0,
            output: &mut self.output,
            examined: &mut self.examined,
        };
        if reading.section.is_some_and(|section| reading.descriptions.section(section).is_none()) {
            return Err(Damage {
                offset: range.start,
                what: Fault::Wrong("its index tells of a section that is not there"),
            });
        }
        self.walker.walk(input, start..range.end, &mut reading)
    }
}

/// The capture at `path`, opened unless it is open.
fn input_of<'a>(open: &'a mut Vec<(u32, Input)>, file: u32, path: &std::path::Path) -> std::io::Result<&'a mut Input> {
    let entry = match open.iter().position(|(other, _)| *other == file) {
        Some(at) => open.remove(at),
        None => (file, Input::open_wherever(path)?.0),
    };
    if open.len() == MAX_OPEN {
        open.remove(0);
    }
    open.push(entry);
    open.last_mut().map(|(_, input)| input).ok_or_else(|| std::io::ErrorKind::NotFound.into())
}

/// One page or file while it is read.
struct Reading<'a, W> {
    query: &'a Query,
    flows: Flows<'a>,
    descriptions: &'a mut Descriptions,
    /// The section that the page is in; `None` while a whole file is read, which tells by itself.
    section: Option<u32>,
    known: &'a mut Vec<Vec<Known>>,
    file: u32,
    /// Time of the record before.
    last_ns: u64,
    output: &'a mut Output<W>,
    examined: &'a mut u64,
}

impl<W: Write> Visit for Reading<'_, W> {
    #[inline]
    fn section(&self) -> &Section {
        let section = self.section.and_then(|section| self.descriptions.section(section));
        section.unwrap_or_else(|| self.descriptions.current())
    }

    fn block(&mut self, offset: u64, _: usize, content: Content<'_>) -> Result<(), &'static str> {
        match &content {
            Content::Record(record) => self.record(offset, record),
            // The index has told of all interfaces.
            Content::SectionHeader(_) | Content::Interface(_) if self.section.is_none() => {
                self.descriptions.follow(&content)?;
                if matches!(content, Content::SectionHeader(_)) {
                    self.known.clear();
                }
            }
            _ => {}
        }
        if self.output.has_failed() { Err("the output cannot be written") } else { Ok(()) }
    }
}

impl<W: Write> Reading<'_, W> {
    #[inline]
    fn record(&mut self, offset: u64, record: &Record<'_>) {
        *self.examined += 1;
        let time_ns = record.time_ns.unwrap_or(self.last_ns);
        self.last_ns = time_ns;
        // Of a file that is read whole there is the section that is being read.
        let number = self.section.unwrap_or(0);
        let Some(section) = self.descriptions.section(number) else { return };
        if self.known.len() <= number as usize {
            self.known.resize_with(number as usize + 1, Vec::new);
        }
        let Some(known) = self.known.get_mut(number as usize) else { return };
        if known.len() <= record.interface as usize {
            let new = section.interfaces().iter().take(record.interface as usize + 1).skip(known.len());
            known.extend(new.map(|interface| Known { tunnel: TunnelFacts::of(interface), number: None }));
        }
        let Some(known) = known.get_mut(record.interface as usize) else { return };
        if !self.query.wants(time_ns, record, &self.flows, &known.tunnel) {
            return;
        }
        let Some(interface) = section.interfaces().get(record.interface as usize) else { return };
        let number = *known.number.get_or_insert_with(|| self.output.number(interface));
        self.output.take(Place { time_ns, file: self.file, offset }, number, record);
    }
}
