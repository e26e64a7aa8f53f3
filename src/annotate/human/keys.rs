//! What keys do. The page has its table from here.

use super::super::category::Category;

/// What a person can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Puts the current noun into a category and goes on.
    Label(Category),
    /// Takes the last label back, and goes there.
    Undo,
    /// Does again what was taken back.
    Redo,
    /// Goes on without a label.
    Skip,
    /// To the next noun, labelled or not.
    NextNoun,
    /// To the noun before, labelled or not.
    PreviousNoun,
    /// To the next image.
    NextImage,
    /// To the image before.
    PreviousImage,
    /// Writes the annotation file now.
    Save,
    /// Shows the labels of the image.
    Show,
    /// Looks the noun up: definition, pictures, WordNet.
    Definition,
    /// Pictures of it.
    Images,
    /// Its page of WordNet.
    Wordnet,
    /// Enlarges the image.
    ZoomIn,
    /// Makes it smaller.
    ZoomOut,
    /// Shows it as at first.
    ZoomReset,
    /// Goes to the filters.
    Filter,
    /// Shows the keys.
    Help,
    /// Asks to end the session.
    End,
}

impl Command {
    /// All commands.
    pub const ALL: [Self; 23] = [
        Self::Label(Category::CorrectPrimary),
        Self::Label(Category::CorrectSecondary),
        Self::Label(Category::ClosePrimary),
        Self::Label(Category::CloseSecondary),
        Self::Label(Category::Incorrect),
        Self::Undo,
        Self::Redo,
        Self::Skip,
        Self::NextNoun,
        Self::PreviousNoun,
        Self::NextImage,
        Self::PreviousImage,
        Self::Save,
        Self::Show,
        Self::Definition,
        Self::Images,
        Self::Wordnet,
        Self::ZoomIn,
        Self::ZoomOut,
        Self::ZoomReset,
        Self::Filter,
        Self::Help,
        Self::End,
    ];

    /// Its name in the interface.
    pub fn name(self) -> &'static str {
        match self {
            Self::Label(category) => category.name(),
            Self::Undo => "undo",
            Self::Redo => "redo",
            Self::Skip => "skip",
            Self::NextNoun => "next_noun",
            Self::PreviousNoun => "previous_noun",
            Self::NextImage => "next_image",
            Self::PreviousImage => "previous_image",
            Self::Save => "save",
            Self::Show => "show",
            Self::Definition => "definition",
            Self::Images => "images",
            Self::Wordnet => "wordnet",
            Self::ZoomIn => "zoom_in",
            Self::ZoomOut => "zoom_out",
            Self::ZoomReset => "zoom_reset",
            Self::Filter => "filter",
            Self::Help => "help",
            Self::End => "end",
        }
    }

    /// What it does, for people.
    pub fn description(self) -> &'static str {
        match self {
            Self::Label(category) => category_label(category),
            Self::Undo => "Undo the last label",
            Self::Redo => "Redo",
            Self::Skip => "Skip this noun",
            Self::NextNoun => "Next noun",
            Self::PreviousNoun => "Previous noun",
            Self::NextImage => "Next image",
            Self::PreviousImage => "Previous image",
            Self::Save => "Write the file now",
            Self::Show => "Show the labels of this image",
            Self::Definition => "Look up a definition",
            Self::Images => "Look up pictures",
            Self::Wordnet => "Look up in WordNet",
            Self::ZoomIn => "Enlarge the image",
            Self::ZoomOut => "Make the image smaller",
            Self::ZoomReset => "Image as at first",
            Self::Filter => "Go to the filters",
            Self::Help => "Show the keys",
            Self::End => "End the session",
        }
    }

    /// The command with this name in the interface.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.name() == name)
    }
}

/// A category for people.
pub(super) fn category_label(category: Category) -> &'static str {
    match category {
        Category::CorrectPrimary => "Correct primary",
        Category::CorrectSecondary => "Correct secondary",
        Category::ClosePrimary => "Close primary",
        Category::CloseSecondary => "Close secondary",
        Category::Incorrect => "Incorrect",
    }
}

/// Keys, as browsers name them, and what they do. `Shift+`, `Control+` and
/// `Control+Shift+` stand before keys that are pressed with them.
pub const KEYS: &[(&str, Command)] = &[
    ("q", Command::Label(Category::CorrectPrimary)),
    ("w", Command::Label(Category::CorrectSecondary)),
    ("o", Command::Label(Category::ClosePrimary)),
    ("p", Command::Label(Category::CloseSecondary)),
    ("i", Command::Label(Category::Incorrect)),
    ("1", Command::Label(Category::CorrectPrimary)),
    ("2", Command::Label(Category::CorrectSecondary)),
    ("3", Command::Label(Category::ClosePrimary)),
    ("4", Command::Label(Category::CloseSecondary)),
    ("5", Command::Label(Category::Incorrect)),
    ("u", Command::Undo),
    ("Control+z", Command::Undo),
    ("r", Command::Redo),
    ("Control+Shift+z", Command::Redo),
    (" ", Command::Skip),
    ("n", Command::Skip),
    ("ArrowRight", Command::NextNoun),
    ("ArrowLeft", Command::PreviousNoun),
    ("b", Command::PreviousNoun),
    ("Enter", Command::NextImage),
    ("PageDown", Command::NextImage),
    ("Shift+Enter", Command::PreviousImage),
    ("PageUp", Command::PreviousImage),
    ("s", Command::Save),
    ("z", Command::Show),
    ("g", Command::Definition),
    ("h", Command::Images),
    ("j", Command::Wordnet),
    ("+", Command::ZoomIn),
    ("-", Command::ZoomOut),
    ("0", Command::ZoomReset),
    ("/", Command::Filter),
    ("?", Command::Help),
    ("Escape", Command::End),
];

/// What a key does; letters in any case.
pub fn command_of_key(key: &str) -> Option<Command> {
    let is_it = |known: &str| known == key || (known.len() == 1 && known.eq_ignore_ascii_case(key));
    KEYS.iter()
        .find(|(known, _)| is_it(known))
        .map(|(_, command)| *command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_key_and_a_name_of_its_own() {
        for (place, command) in Command::ALL.iter().enumerate() {
            assert!(
                KEYS.iter().any(|(_, of_key)| of_key == command),
                "{command:?}"
            );
            assert_eq!(Command::of_name(command.name()), Some(*command), "{place}");
        }
        for (place, (key, _)) in KEYS.iter().enumerate() {
            assert!(KEYS[..place].iter().all(|(other, _)| other != key), "{key}");
        }
        assert_eq!(command_of_key("Q"), command_of_key("q"));
        assert_eq!(command_of_key("x"), None);
    }
}
