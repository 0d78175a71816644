//! The columns of a file.

/// Columns and the four bytes that name each in the file.
macro_rules! columns {
    ($($column:ident = $tag:literal,)+) => {
        /// A column, in the order in which they are written.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Column {
            $($column,)+
        }

        impl Column {
            /// Every column, in the order of the file.
            pub(crate) const ALL: &[Self] = &[$(Self::$column),+];

            /// The four bytes that name it in the file.
            pub(crate) fn tag(self) -> [u8; 4] {
                match self {
                    $(Self::$column => *$tag,)+
                }
            }
        }
    };
}

columns! {
    MetaNumbers = b"META",
    MetaText = b"METX",
    NameLengths = b"NAML",
    NameText = b"NAMX",
    TypeNames = b"TYPN",
    TypeModules = b"TYPM",
    TypeFlags = b"TYPF",
    TypeClasses = b"TYPC",
    ShapeLengths = b"SHPL",
    ShapeNames = b"SHPN",
    Degrees = b"DEGR",
    Types = b"TYPE",
    Shapes = b"SHAP",
    Sizes = b"SIZE",
    Addresses = b"ADDR",
    Targets = b"EDGE",
    RootObjects = b"ROTO",
    RootKinds = b"ROTK",
    RootValues = b"ROTV",
    FrameObjects = b"FRMO",
    FrameFunctions = b"FRMF",
    FrameFiles = b"FRMP",
    FrameLines = b"FRML",
    TextObjects = b"TXTO",
    TextNames = b"TXTN",
    OpaqueObjects = b"OPQO",
    OpaqueBytes = b"OPQB",
    FactObjects = b"FCTO",
    FactKinds = b"FCTK",
    FactFirsts = b"FCT1",
    FactSeconds = b"FCT2",
    FactSaved = b"FCTS",
    WeakFrom = b"WEKF",
    WeakTo = b"WEKT",
    ContentHashes = b"CONH",
    ContentObjects = b"CONO",
    End = b"END.",
}

impl Column {
    /// Whether some version of this reader's knows the tag.
    pub(crate) fn is_known(tag: [u8; 4]) -> bool {
        Self::ALL.iter().any(|column| column.tag() == tag)
    }
}
