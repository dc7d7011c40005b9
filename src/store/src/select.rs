//! Which file of which image a rendered tree gets (appc spec, "Image
//! Rendering"). Pure: listings and whitelists in, a map of paths out.
//!
//! Images come in the order of the flat list, highest priority first.
//! - A path belongs to the first image that offers it; below a path that a
//!   higher image fills with something other than a directory, nothing is taken.
//! - A file is offered if its image's whitelist and those of all images on the
//!   chain up to the top list it; an empty whitelist lists everything.
//! - A directory passes its own image's whitelist unlisted, not those above; the
//!   directories over an offered path are always kept.
//! - Mode, owner and times of a directory are those of the highest image that
//!   has it, listed or not.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

/// Paths relative to the root of the tree; `None` stands for all.
pub(crate) type Listed = Option<Rc<HashSet<Vec<u8>>>>;

/// What an image may contribute.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Listed by everything above on the chain.
    pub inherited: Listed,
    /// Listed by that and by the image itself.
    pub effective: Listed,
}

impl Filter {
    /// The filter of an image below another one; `above` is `None` at the top.
    pub(crate) fn below(above: Option<&Filter>, whitelist: &[String]) -> Filter {
        let inherited = above.and_then(|above| above.effective.clone());
        if whitelist.is_empty() {
            return Filter {
                effective: inherited.clone(),
                inherited,
            };
        }
        let own = whitelist
            .iter()
            .map(|path| path.trim_matches('/').as_bytes());
        let effective = match &inherited {
            Some(listed) => own
                .filter(|path| listed.contains(*path))
                .map(Vec::from)
                .collect(),
            None => own.map(Vec::from).collect(),
        };
        Filter {
            inherited,
            effective: Some(Rc::new(effective)),
        }
    }

    fn passes(&self, path: &[u8], is_dir: bool) -> bool {
        let listed = if is_dir {
            &self.inherited
        } else {
            &self.effective
        };
        listed.as_ref().is_none_or(|listed| listed.contains(path))
    }
}

/// Where a path of the tree comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Index into the list of images.
    pub image: usize,
    pub is_dir: bool,
}

/// A selection in the making; images are added highest priority first.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    taken: BTreeMap<Vec<u8>, Taken>,
    /// The highest image that has a directory.
    first_dirs: HashMap<Vec<u8>, usize>,
}

impl Selection {
    /// Offers one entry of an image. Paths are relative, without a leading
    /// slash, parents before what is in them; the root itself is not offered.
    pub(crate) fn offer(&mut self, image: usize, filter: &Filter, path: &[u8], is_dir: bool) {
        if is_dir {
            self.first_dirs.entry(path.to_vec()).or_insert(image);
        }
        if self.taken.contains_key(path) || !filter.passes(path, is_dir) || self.is_covered(path) {
            return;
        }
        for above in parents(path) {
            // Where one is there, those above it are as well.
            if self.taken.contains_key(above) {
                break;
            }
            self.taken.insert(
                above.to_vec(),
                Taken {
                    image,
                    is_dir: true,
                },
            );
        }
        self.taken.insert(path.to_vec(), Taken { image, is_dir });
    }

    /// Whether a parent is taken by something that is no directory.
    fn is_covered(&self, path: &[u8]) -> bool {
        let nearest = parents(path).find_map(|above| self.taken.get(above));
        nearest.is_some_and(|taken| !taken.is_dir)
    }

    /// The map of the tree, parents before what is in them.
    pub(crate) fn finish(mut self) -> BTreeMap<Vec<u8>, Taken> {
        for (path, taken) in &mut self.taken {
            if taken.is_dir {
                taken.image = self.first_dirs.get(path).copied().unwrap_or(taken.image);
            }
        }
        self.taken
    }
}

/// The directories over a path, nearest first, without the root.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |path| {
        path.iter()
            .rposition(|&byte| byte == b'/')
            .map(|slash| &path[..slash])
    })
    .skip(1)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::testing::Random;

    /// One image of a made-up list.
    struct Image {
        parent: Option<usize>,
        whitelist: Vec<String>,
        /// Path → is a directory.
        entries: BTreeMap<String, bool>,
    }

    fn image(parent: Option<usize>, whitelist: &[&str], entries: &[&str]) -> Image {
        let mut map = BTreeMap::new();
        for entry in entries {
            let path = entry.trim_end_matches('/');
            for above in parents(path.as_bytes()) {
                map.insert(String::from_utf8(above.to_vec()).unwrap(), true);
            }
            map.insert(path.to_string(), entry.ends_with('/'));
        }
        Image {
            parent,
            whitelist: whitelist.iter().map(|s| s.to_string()).collect(),
            entries: map,
        }
    }

    fn selected(list: &[Image]) -> BTreeMap<String, Taken> {
        let mut selection = Selection::default();
        let mut filters: Vec<Filter> = Vec::new();
        for (index, image) in list.iter().enumerate() {
            let above = image.parent.map(|parent| &filters[parent]);
            let filter = Filter::below(above, &image.whitelist);
            for (path, is_dir) in &image.entries {
                selection.offer(index, &filter, path.as_bytes(), *is_dir);
            }
            filters.push(filter);
        }
        let map = selection.finish();
        map.into_iter()
            .map(|(path, taken)| (String::from_utf8(path).unwrap(), taken))
            .collect()
    }

    fn shown(list: &[Image]) -> String {
        let show = |(path, taken): (&String, &Taken)| {
            format!(
                "{path}{}@{}",
                if taken.is_dir { "/" } else { "" },
                taken.image
            )
        };
        selected(list)
            .iter()
            .map(show)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn the_highest_image_wins() {
        let list = [
            image(None, &[], &["bin/sh", "etc/a"]),
            image(Some(0), &[], &["bin/sh", "bin/ls", "etc/"]),
        ];
        assert_eq!(shown(&list), "bin/@0 bin/ls@1 bin/sh@0 etc/@0 etc/a@0");
    }

    #[test]
    fn nothing_is_taken_below_a_file() {
        let list = [
            image(None, &[], &["lib"]),
            image(Some(0), &[], &["lib/a/b", "x"]),
        ];
        assert_eq!(shown(&list), "lib@0 x@1");
    }

    #[test]
    fn a_lower_file_does_not_replace_a_directory() {
        let list = [image(None, &[], &["lib/a"]), image(Some(0), &[], &["lib"])];
        assert_eq!(shown(&list), "lib/@0 lib/a@0");
    }

    #[test]
    fn a_whitelist_hides_files_and_keeps_directories_of_its_own_image() {
        let list = [
            image(None, &["/a/keep", "/b/x/"], &["a/keep", "a/drop", "d/drop"]),
            image(Some(0), &[], &["b/x", "b/y", "c/"]),
        ];
        assert_eq!(shown(&list), "a/@0 a/keep@0 b/@1 b/x@1 d/@0");
    }

    #[test]
    fn the_whitelist_of_a_sibling_does_not_leak() {
        // The list reads A, C, D, B: C's whitelist is for C and D alone.
        let list = [
            image(None, &[], &[]),
            image(Some(0), &["/c"], &["c"]),
            image(Some(1), &[], &["c", "d"]),
            image(Some(0), &[], &["b"]),
        ];
        assert_eq!(shown(&list), "b@3 c@1");
    }

    #[test]
    fn whitelists_of_a_chain_intersect() {
        let list = [
            image(None, &["/1", "/2"], &[]),
            image(Some(0), &["/2", "/3"], &["1", "2"]),
            image(Some(1), &["/1", "/2", "/3"], &["1", "2", "3"]),
        ];
        assert_eq!(shown(&list), "2@1");
    }

    #[test]
    fn a_kept_directory_looks_like_the_highest_one() {
        let list = [
            image(None, &["/d/f"], &[]),
            image(Some(0), &[], &["d/"]),
            image(Some(0), &[], &["d/f"]),
        ];
        assert_eq!(shown(&list), "d/@1 d/f@2");
    }

    /// The rules as the specification puts them, one path at a time.
    fn naive(list: &[Image]) -> BTreeMap<String, Taken> {
        let lists = |mut at: Option<usize>, path: &str| {
            while let Some(image) = at.map(|at| &list[at]) {
                let slashed = format!("/{path}");
                if !image.whitelist.is_empty() && !image.whitelist.contains(&slashed) {
                    return false;
                }
                at = image.parent;
            }
            true
        };
        let offers_itself = |at: usize, path: &str| match list[at].entries.get(path) {
            Some(true) => lists(list[at].parent, path),
            Some(false) => lists(Some(at), path),
            None => false,
        };
        let offers = |at: usize, path: &str| {
            let inside = format!("{path}/");
            let entries = &list[at].entries;
            offers_itself(at, path)
                || entries
                    .keys()
                    .any(|p| p.starts_with(&inside) && offers_itself(at, p))
        };
        let mut paths: Vec<&String> = list.iter().flat_map(|image| image.entries.keys()).collect();
        paths.sort_by_key(|path| path.matches('/').count());
        let mut result: BTreeMap<String, Taken> = BTreeMap::new();
        for path in paths {
            let reachable = parents(path.as_bytes()).all(|above| {
                result
                    .get(std::str::from_utf8(above).unwrap())
                    .is_some_and(|t| t.is_dir)
            });
            let Some(first) = (0..list.len()).find(|&at| offers(at, path)) else {
                continue;
            };
            if !reachable {
                continue;
            }
            let is_dir = list[first].entries[path];
            let dir = |image: &Image| image.entries.get(path) == Some(&true);
            let image = if is_dir {
                list.iter().position(dir).unwrap()
            } else {
                first
            };
            result.insert(path.clone(), Taken { image, is_dir });
        }
        result
    }

    fn random_list(random: &mut Random) -> Vec<Image> {
        let path = |random: &mut Random| {
            let depth = 1 + random.below(3);
            let names: Vec<&str> = (0..depth)
                .map(|_| ["a", "b", "c"][random.below(3)])
                .collect();
            names.join("/")
        };
        (0..1 + random.below(5))
            .map(|at| {
                let parent = (at > 0).then(|| random.below(at));
                let mut image = image(parent, &[], &[]);
                if random.below(3) == 0 {
                    image.whitelist = (0..1 + random.below(8))
                        .map(|_| format!("/{}", path(random)))
                        .collect();
                }
                for _ in 0..random.below(8) {
                    let path = path(random);
                    let above: Vec<String> = parents(path.as_bytes())
                        .map(|above| String::from_utf8(above.to_vec()).unwrap())
                        .collect();
                    if above
                        .iter()
                        .any(|above| image.entries.get(above) == Some(&false))
                    {
                        continue;
                    }
                    image
                        .entries
                        .extend(above.into_iter().map(|above| (above, true)));
                    let is_dir = random.below(3) == 0;
                    image.entries.entry(path).or_insert(is_dir);
                }
                image
            })
            .collect()
    }

    #[test]
    fn selection_agrees_with_the_naive_model() {
        let mut random = Random::new(7);
        for round in 0..20_000 {
            let list = random_list(&mut random);
            assert_eq!(selected(&list), naive(&list), "round {round}");
        }
    }
}
