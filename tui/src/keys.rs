//! Which key does what. The help screen shows this table and the keys are looked up in it, so they can't disagree.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Quit,
    Help,
    Show(Screen),
    NextScreen,
    PreviousScreen,
    Pause,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Tables,
    NextColumn,
    PreviousColumn,
    Reverse,
    Filter,
    Open,
    Save,
    Accept,
    Reject,
    Forget,
    Yes,
    Back,
    Edit(Edit),
}

/// What a key asks for while the filter is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Apply,
    Cancel,
    Left,
    Right,
    Start,
    End,
    Backspace,
    Delete,
    DeleteWord,
    Clear,
    Insert(char),
}

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Screen {
    #[default]
    Overview,
    Flows,
    Captures,
    Streams,
    Help,
}

impl Screen {
    /// In the order of the tabs.
    pub(crate) const ALL: [Self; 5] = [Self::Overview, Self::Flows, Self::Captures, Self::Streams, Self::Help];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Flows => "Flows",
            Self::Captures => "Captures",
            Self::Streams => "Streams",
            Self::Help => "Help",
        }
    }

    /// Place among the tabs, from 0.
    pub(crate) const fn place(self) -> usize {
        self as usize
    }

    pub(crate) const fn next(self) -> Self {
        Self::ALL[(self.place() + 1) % Self::ALL.len()]
    }

    pub(crate) const fn previous(self) -> Self {
        Self::ALL[(self.place() + Self::ALL.len() - 1) % Self::ALL.len()]
    }
}

/// Where the keyboard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Overview,
    FlowList,
    FlowDetail,
    FilterLine,
    Captures,
    Streams,
    /// A decision waits for a yes.
    Asking,
    Help,
}

/// Keys under one heading of the help screen.
pub(crate) struct Section {
    /// Empty where they belong below the section before.
    pub(crate) heading: &'static str,
    /// Where they work.
    pub(crate) places: &'static [Place],
    pub(crate) bindings: &'static [Binding],
}

/// Keys that do one thing.
pub(crate) struct Binding {
    pub(crate) keys: &'static [Key],
    pub(crate) command: Command,
    /// What it does, for the help screen.
    pub(crate) meaning: &'static str,
}

/// A key as it is pressed and as it is written.
pub(crate) struct Key {
    pub(crate) code: KeyCode,
    pub(crate) control: bool,
    pub(crate) name: &'static str,
}

const fn key(code: KeyCode, name: &'static str) -> Key {
    Key { code, control: false, name }
}

const fn control(letter: char, name: &'static str) -> Key {
    Key { code: KeyCode::Char(letter), control: true, name }
}

const fn letter(letter: char, name: &'static str) -> Key {
    key(KeyCode::Char(letter), name)
}

const fn bind(keys: &'static [Key], command: Command, meaning: &'static str) -> Binding {
    Binding { keys, command, meaning }
}

const NOT_WRITING: &[Place] =
    &[Place::Overview, Place::FlowList, Place::FlowDetail, Place::Captures, Place::Streams, Place::Asking, Place::Help];

/// Every key there is.
pub(crate) const SECTIONS: &[Section] = &[
    Section {
        heading: "Everywhere",
        places: NOT_WRITING,
        bindings: &[
            bind(&[letter('q', "q"), control('c', "Ctrl-C")], Command::Quit, "quit"),
            bind(&[letter('?', "?"), key(KeyCode::F(1), "F1")], Command::Help, "this help, and back"),
            bind(&[letter('1', "1")], Command::Show(Screen::Overview), "overview"),
            bind(&[letter('2', "2")], Command::Show(Screen::Flows), "flows"),
            bind(&[letter('3', "3")], Command::Show(Screen::Captures), "captures"),
            bind(&[letter('4', "4")], Command::Show(Screen::Streams), "mirror streams"),
            bind(&[letter('5', "5")], Command::Show(Screen::Help), "help"),
            bind(&[key(KeyCode::Tab, "Tab")], Command::NextScreen, "next screen"),
            bind(&[key(KeyCode::BackTab, "Shift-Tab")], Command::PreviousScreen, "previous screen"),
            bind(&[letter('p', "p"), letter(' ', "Space")], Command::Pause, "hold still, go on"),
        ],
    },
    Section {
        heading: "Lists",
        places: NOT_WRITING,
        bindings: &[
            bind(&[key(KeyCode::Up, "Up"), letter('k', "k")], Command::Up, "one line up"),
            bind(&[key(KeyCode::Down, "Down"), letter('j', "j")], Command::Down, "one line down"),
            bind(&[key(KeyCode::PageUp, "PgUp"), control('b', "Ctrl-B")], Command::PageUp, "one page up"),
            bind(&[key(KeyCode::PageDown, "PgDn"), control('f', "Ctrl-F")], Command::PageDown, "one page down"),
            bind(&[key(KeyCode::Home, "Home"), letter('g', "g")], Command::First, "to the top"),
            bind(&[key(KeyCode::End, "End"), letter('G', "G")], Command::Last, "to the end"),
        ],
    },
    Section {
        heading: "Overview",
        places: &[Place::Overview],
        bindings: &[bind(&[letter('w', "w")], Command::Tables, "which tables to show")],
    },
    Section {
        heading: "Flows",
        places: &[Place::FlowList],
        bindings: &[
            bind(&[letter('s', "s"), key(KeyCode::Right, "Right")], Command::NextColumn, "sort by the next column"),
            bind(&[letter('S', "S"), key(KeyCode::Left, "Left")], Command::PreviousColumn, "by the one before"),
            bind(&[letter('r', "r")], Command::Reverse, "reverse the order"),
            bind(&[letter('/', "/")], Command::Filter, "write a filter"),
            bind(&[key(KeyCode::Enter, "Enter")], Command::Open, "everything about one flow"),
        ],
    },
    Section {
        heading: "",
        places: &[Place::FlowList, Place::FlowDetail],
        bindings: &[bind(&[letter('f', "f")], Command::Save, "save its packets")],
    },
    Section {
        heading: "Streams",
        places: &[Place::Streams, Place::Asking],
        bindings: &[
            bind(&[letter('a', "a")], Command::Accept, "accept the chosen stream"),
            bind(&[letter('x', "x")], Command::Reject, "reject it"),
            bind(&[letter('u', "u")], Command::Forget, "undo the decision about it"),
        ],
    },
    Section {
        heading: "",
        places: &[Place::Asking],
        bindings: &[bind(&[letter('y', "y")], Command::Yes, "yes, do it")],
    },
    Section {
        heading: "",
        places: &[Place::FlowList, Place::FlowDetail, Place::Asking, Place::Help],
        bindings: &[bind(&[key(KeyCode::Esc, "Esc")], Command::Back, "back, drop the filter, no")],
    },
    Section {
        heading: "While writing a filter",
        places: &[Place::FilterLine],
        bindings: &[
            bind(&[key(KeyCode::Enter, "Enter")], Command::Edit(Edit::Apply), "use it"),
            bind(&[key(KeyCode::Esc, "Esc")], Command::Edit(Edit::Cancel), "leave it as it was"),
            bind(&[key(KeyCode::Left, "Left")], Command::Edit(Edit::Left), "one character left"),
            bind(&[key(KeyCode::Right, "Right")], Command::Edit(Edit::Right), "one character right"),
            bind(&[key(KeyCode::Home, "Home"), control('a', "Ctrl-A")], Command::Edit(Edit::Start), "to its start"),
            bind(&[key(KeyCode::End, "End"), control('e', "Ctrl-E")], Command::Edit(Edit::End), "to its end"),
            bind(
                &[key(KeyCode::Backspace, "Bksp"), control('h', "Ctrl-H")],
                Command::Edit(Edit::Backspace),
                "rub out backwards",
            ),
            bind(&[key(KeyCode::Delete, "Del"), control('d', "Ctrl-D")], Command::Edit(Edit::Delete), "rub out"),
            bind(&[control('w', "Ctrl-W")], Command::Edit(Edit::DeleteWord), "rub out a word backwards"),
            bind(&[control('u', "Ctrl-U")], Command::Edit(Edit::Clear), "rub out all"),
            bind(&[control('c', "Ctrl-C")], Command::Quit, "quit"),
        ],
    },
];

/// `event` as Escape and the key after it, if it can be that: when both come in one packet over a slow line, they look like
/// a key pressed with Alt. No key with Alt means anything here.
pub(crate) fn after_escape(event: &KeyEvent) -> Option<[KeyEvent; 2]> {
    let alone = KeyEvent { modifiers: event.modifiers - KeyModifiers::ALT, ..*event };
    event.modifiers.contains(KeyModifiers::ALT).then(|| [KeyEvent::from(KeyCode::Esc), alone])
}

/// What `event` asks for at `place`; `None` for a key that does nothing there.
pub(crate) fn command(place: Place, event: &KeyEvent) -> Option<Command> {
    if event.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SUPER | KeyModifiers::HYPER | KeyModifiers::META) {
        return None;
    }
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    let bindings =
        SECTIONS.iter().filter(|section| section.places.contains(&place)).flat_map(|section| section.bindings);
    let bound = bindings
        .filter(|binding| binding.keys.iter().any(|key| key.code == event.code && key.control == control))
        .map(|binding| binding.command)
        .next();
    match event.code {
        _ if bound.is_some() => bound,
        KeyCode::Char(c) if place == Place::FilterLine && !control => Some(Command::Edit(Edit::Insert(c))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_at_one_place() {
        for place in [
            Place::Overview,
            Place::FlowList,
            Place::FlowDetail,
            Place::FilterLine,
            Place::Captures,
            Place::Streams,
            Place::Asking,
            Place::Help,
        ] {
            let mut seen = Vec::new();
            for section in SECTIONS.iter().filter(|section| section.places.contains(&place)) {
                for key in section.bindings.iter().flat_map(|binding| binding.keys) {
                    assert!(!seen.contains(&(key.code, key.control)), "{} twice at {place:?}", key.name);
                    seen.push((key.code, key.control));
                }
            }
        }
    }

    #[test]
    fn letters_are_text_while_a_filter_is_written() {
        for c in ['q', '?', '1', ' ', 'G', '/', 'ü'] {
            let event = KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
            assert_eq!(command(Place::FilterLine, &event), Some(Command::Edit(Edit::Insert(c))));
        }
    }

    #[test]
    fn capitals_work_whether_or_not_the_terminal_tells_of_shift() {
        for modifiers in [KeyModifiers::NONE, KeyModifiers::SHIFT] {
            assert_eq!(
                command(Place::FlowList, &KeyEvent::new(KeyCode::Char('S'), modifiers)),
                Some(Command::PreviousColumn)
            );
            assert_eq!(
                command(Place::FlowList, &KeyEvent::new(KeyCode::BackTab, modifiers)),
                Some(Command::PreviousScreen)
            );
        }
    }

    #[test]
    fn keys_with_other_modifiers_do_nothing() {
        for (code, modifiers) in [
            (KeyCode::Char('q'), KeyModifiers::ALT),
            (KeyCode::Char('q'), KeyModifiers::CONTROL),
            (KeyCode::Char('x'), KeyModifiers::NONE),
        ] {
            assert_eq!(command(Place::Overview, &KeyEvent::new(code, modifiers)), None);
        }
        let event = KeyEvent::new(KeyCode::Char('x'), KeyModifiers::CONTROL);
        assert_eq!(command(Place::FilterLine, &event), None);
    }
}
