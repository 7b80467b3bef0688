//! Where models may lie, in order. Pure: whoever calls has read flags and environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Folders in the order in which they are searched, and the one that downloads go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPath {
    folders: Vec<PathBuf>,
    target: PathBuf,
}

impl SearchPath {
    /// All folders, whether they exist or not.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Where `pull` puts files.
    pub fn target(&self) -> &Path {
        &self.target
    }
}

impl From<Vec<PathBuf>> for SearchPath {
    /// Downloads go to the first folder.
    fn from(folders: Vec<PathBuf>) -> Self {
        let target = folders.first().cloned().unwrap_or_else(|| PathBuf::from("models"));
        Self { folders, target }
    }
}

/// The search path of `models_dir` (flag or environment), `models/` beside the executable, `./models` and the
/// user's cache.
///
/// `cache` is the user's cache folder itself ([`user_cache`]). Downloads go to `models_dir` if it is given, else to
/// the cache, else to `./models`.
pub fn search_path(
    models_dir: Option<PathBuf>,
    exe_dir: Option<PathBuf>,
    cwd: &Path,
    cache: Option<PathBuf>,
) -> SearchPath {
    let here = cwd.join("models");
    let cache = cache.map(|cache| cache.join("stenopool").join("models"));
    let target = models_dir.as_ref().or(cache.as_ref()).unwrap_or(&here).clone();
    let mut folders: Vec<PathBuf> = Vec::new();
    for folder in [models_dir, exe_dir.map(|dir| dir.join("models")), Some(here), cache].into_iter().flatten()
    {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    SearchPath { folders, target }
}

/// The user's cache folder out of `$XDG_CACHE_HOME` and `$HOME`.
///
/// As the XDG specification has it, a relative or empty `$XDG_CACHE_HOME` counts as absent.
pub fn user_cache(xdg_cache_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    xdg_cache_home.and_then(absolute).or_else(|| home.and_then(absolute).map(|home| home.join(".cache")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &SearchPath) -> Vec<&str> {
        path.folders().iter().map(|folder| folder.to_str().unwrap()).collect()
    }

    #[test]
    fn folders_are_searched_from_the_most_to_the_least_explicit() {
        let path = search_path(Some("/m".into()), Some("/bin".into()), Path::new("/here"), Some("/c".into()));
        assert_eq!(shown(&path), ["/m", "/bin/models", "/here/models", "/c/stenopool/models"]);
        assert_eq!(path.target(), Path::new("/m"));
    }

    #[test]
    fn downloads_go_to_the_cache_unless_a_folder_is_given() {
        let path = search_path(None, Some("/bin".into()), Path::new("/here"), Some("/c".into()));
        assert_eq!(path.target(), Path::new("/c/stenopool/models"));
        assert_eq!(search_path(None, None, Path::new("/here"), None).target(), Path::new("/here/models"));
    }

    #[test]
    fn a_folder_is_searched_once() {
        let path = search_path(Some("/here/models".into()), Some("/here".into()), Path::new("/here"), None);
        assert_eq!(shown(&path), ["/here/models"]);
    }

    #[test]
    fn the_cache_follows_xdg_and_falls_back_to_home() {
        let cache = |xdg: &str, home: Option<&str>| user_cache(Some(xdg.into()), home.map(OsString::from));
        assert_eq!(cache("/x", Some("/h")), Some("/x".into()));
        assert_eq!(cache("relative", Some("/h")), Some("/h/.cache".into()));
        assert_eq!(cache("", None), None);
    }
}
