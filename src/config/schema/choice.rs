//! Enumerated values: the macro that makes them.

/// Declares an enumeration whose values are written as the given names.
///
/// `any_case` before the braces makes reading ignore the case, as the original
/// does for some keys; writing always gives the name as declared. Generated:
/// `ALL`, `NAMES`, `as_str`, `Display`, `FromStr`, serde as text and
/// [`Leaf`](super::leaf::Leaf).
macro_rules! choice {
    (
        $(#[$meta:meta])*
        pub enum $name:ident $(: $case:ident)? {
            $( $(#[$($vmeta:tt)*])* $variant:ident = $text:literal ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[$($vmeta)*])* $variant, )+
        }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$( Self::$variant ),+];
            /// Their names, in the same order.
            pub const NAMES: &'static [&'static str] = &[$( $text ),+];
            /// What they mean, in the same order.
            const DOCS: &'static [&'static str] =
                &[$( $crate::config::schema::choice::choice!(@doc $(#[$($vmeta)*])*) ),+];
            const ANY_CASE: bool = $crate::config::schema::choice::choice!(@case $($case)?);

            /// The name, as written in files.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::config::schema::choice::UnknownChoice;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|value| {
                        value.as_str() == text
                            || Self::ANY_CASE && value.as_str().eq_ignore_ascii_case(text)
                    })
                    .ok_or_else(|| $crate::config::schema::choice::UnknownChoice {
                        given: text.to_owned(),
                        allowed: Self::NAMES,
                    })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl $crate::config::schema::leaf::Leaf for $name {
            const KIND: $crate::config::schema::leaf::Kind =
                $crate::config::schema::leaf::Kind::Choice {
                    names: Self::NAMES,
                    docs: Self::DOCS,
                    any_case: Self::ANY_CASE,
                };
        }
    };
    (@case) => { false };
    (@case any_case) => { true };
    (@doc) => { "" };
    (@doc #[doc = $doc:literal] $($rest:tt)*) => {
        concat!($doc, $crate::config::schema::choice::choice!(@doc $($rest)*))
    };
    (@doc #[$($other:tt)*] $($rest:tt)*) => {
        $crate::config::schema::choice::choice!(@doc $($rest)*)
    };
}

pub(crate) use choice;

/// A text that is none of the allowed names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is none of {}", allowed.join(", "))]
pub struct UnknownChoice {
    /// What was given.
    pub given: String,
    /// What is allowed.
    pub allowed: &'static [&'static str],
}
