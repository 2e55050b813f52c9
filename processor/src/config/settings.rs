//! One declaration per key: `settings!` makes of it the field, the reading, the reference entry and the printed form.

/// Declares a group of keys as a struct. Each field is `pub name: Type = how(arguments)`, where `how` is an accessor of
/// [`Section`](super::section::Section) that gets the field's name and its doc comment before the arguments.
macro_rules! settings {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])+ pub $field:ident : $type:ty = $how:ident ( $($arg:expr),* $(,)? ) ),+ $(,)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                ///
                #[doc = concat!("Declared as `", stringify!($how($($arg),*)), "`.")]
                pub $field: $type
            ),+
        }

        impl $name {
            /// Reads every key before it gives up on any, so that all problems are found.
            pub(in crate::config) fn read(section: &$crate::config::section::Section<'_>) -> Option<Self> {
                $( let $field = section.$how(stringify!($field), concat!($($doc),+), $($arg),*); )+
                Some(Self { $( $field: $field? ),+ })
            }
        }

        impl $crate::config::describe::Describe for $name {
            fn describe(&self, out: &mut $crate::config::describe::Outline) {
                out.group(|out| { $( out.entry(stringify!($field), &self.$field); )+ });
            }
        }
    };
}

/// Declares a choice of words as an enum.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $about:literal])+ $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $( $(#[doc = $about])+ $variant ),+
        }

        impl $name {
            pub(super) const KIND: $crate::config::kinds::OneOf<Self> =
                $crate::config::kinds::OneOf(&[$(($word, Self::$variant)),+]);

            /// The word that stands for it in the file.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $word ),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::config::describe::Describe for $name {
            fn describe(&self, out: &mut $crate::config::describe::Outline) {
                out.value(self);
            }
        }
    };
}

pub(super) use {settings, words};
