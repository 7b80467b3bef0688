//! Models on disk: manifest, search path, download, checksums, and the embedded demo model.
