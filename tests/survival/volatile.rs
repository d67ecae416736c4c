//! A model of a disk that loses what was not synced when the power goes.
//!
//! The worst that POSIX permits: a file's content is safe after `fsync` or `fdatasync` of the file; a name that
//! was made, moved or removed, after `fsync` of its folder.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use crate::strace::Call;

/// What becomes of content that was not synced.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    Lost,
    /// The first half of it is there.
    Half,
    /// The length is there, and zeros.
    Zeros,
}

/// What becomes of everything that was not synced.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// Whether names are as if the folders had been synced.
    pub names_kept: bool,
    pub content: Content,
}

/// Every kind of loss.
pub const LOSSES: [Loss; 6] = {
    use Content::{Half, Lost, Zeros};
    const fn loss(names_kept: bool, content: Content) -> Loss {
        Loss { names_kept, content }
    }
    let kept = [loss(true, Lost), loss(true, Half), loss(true, Zeros)];
    [kept[0], kept[1], kept[2], loss(false, Lost), loss(false, Half), loss(false, Zeros)]
};

/// Files by their paths below the top, with their content; folders without.
pub type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What is there now, and what is there after a loss of power.
#[derive(Clone, Default)]
struct State<T> {
    now: T,
    safe: T,
}

type Names = BTreeMap<String, usize>;

enum Node {
    File(State<Vec<u8>>),
    Folder(State<Names>),
}

/// What is below a folder.
pub struct Disk {
    top: PathBuf,
    /// The first one is the top.
    nodes: Vec<Node>,
    /// By descriptor: the node and the place in it.
    open: HashMap<i64, (usize, usize)>,
}

impl Disk {
    /// The disk with what is below `top`, all of it safe.
    pub fn new(top: &Path) -> Self {
        let mut disk = Self { top: top.to_owned(), nodes: vec![], open: HashMap::new() };
        disk.load(top);
        disk
    }

    fn load(&mut self, path: &Path) -> usize {
        let index = self.nodes.len();
        if path.is_file() {
            let now = fs::read(path).expect("a readable file");
            self.nodes.push(Node::File(State { safe: now.clone(), now }));
            return index;
        }
        self.nodes.push(Node::Folder(State::default()));
        for entry in fs::read_dir(path).expect("a folder").flatten() {
            let node = self.load(&entry.path());
            self.names(index).insert(entry.file_name().into_string().expect("a name"), node);
        }
        self.sync(index);
        index
    }

    fn names(&mut self, node: usize) -> &mut Names {
        match &mut self.nodes[node] {
            Node::Folder(names) => &mut names.now,
            Node::File(_) => panic!("a file is no folder"),
        }
    }

    fn content(&mut self, node: usize) -> &mut Vec<u8> {
        match &mut self.nodes[node] {
            Node::File(content) => &mut content.now,
            Node::Folder(_) => panic!("a folder has no content"),
        }
    }

    fn sync(&mut self, node: usize) {
        match &mut self.nodes[node] {
            Node::File(content) => content.safe = content.now.clone(),
            Node::Folder(names) => names.safe = names.now.clone(),
        }
    }

    /// A path's folder and its name there.
    fn place(&mut self, path: &Path) -> (usize, String) {
        let below = path.strip_prefix(&self.top).expect("a path below the top").to_owned();
        let mut names: Vec<&str> = below.iter().map(|name| name.to_str().expect("UTF-8")).collect();
        let last = names.pop().expect("not the top itself").to_owned();
        let folder = names.iter().fold(0, |folder, &name| self.names(folder)[name]);
        (folder, last)
    }

    fn find(&mut self, path: &Path) -> Option<usize> {
        if path == self.top {
            return Some(0);
        }
        let (folder, name) = self.place(path);
        self.names(folder).get(&name).copied()
    }

    fn make(&mut self, path: &Path, node: Node) -> usize {
        let (folder, name) = self.place(path);
        let index = self.nodes.len();
        self.nodes.push(node);
        self.names(folder).insert(name, index);
        index
    }

    fn take(&mut self, path: &Path) -> usize {
        let (folder, name) = self.place(path);
        self.names(folder).remove(&name).expect("a name that is there")
    }

    /// Does what a call did.
    pub fn apply(&mut self, call: &Call) {
        let Some(result @ 0..) = call.result else { return };
        let paths = call.paths();
        match call.name.as_str() {
            "open" | "openat" | "creat" => self.open(result, &paths[0], call),
            "mkdir" | "mkdirat" => drop(self.make(&paths[0], Node::Folder(State::default()))),
            "rename" | "renameat" | "renameat2" => {
                let node = self.take(&paths[0]);
                let (folder, name) = self.place(&paths[1]);
                self.names(folder).insert(name, node);
            }
            "link" | "linkat" => {
                let node = self.find(&paths[0]).expect("a file to link");
                let (folder, name) = self.place(&paths[1]);
                self.names(folder).insert(name, node);
            }
            "unlink" | "unlinkat" | "rmdir" => drop(self.take(&paths[0])),
            "fsync" | "fdatasync" => self.sync(self.open[&call.number(0)].0),
            "write" => self.write(call.number(0), &call.bytes(1)[..result as usize]),
            "pwrite64" => {
                let (node, at) = (self.open[&call.number(0)].0, call.number(3) as usize);
                put(self.content(node), at, &call.bytes(1)[..result as usize]);
            }
            "ftruncate" => {
                let node = self.open[&call.number(0)].0;
                self.content(node).resize(call.number(1) as usize, 0);
            }
            "copy_file_range" => {
                assert_eq!([call.argument(1), call.argument(3)], ["NULL"; 2]);
                let (from, at) = self.open[&call.number(0)];
                let end = at + result as usize;
                let bytes = self.content(from)[at..end].to_vec();
                self.open.insert(call.number(0), (from, end));
                self.write(call.number(2), &bytes);
            }
            other => panic!("the model does not know {other}"),
        }
    }

    fn open(&mut self, descriptor: i64, path: &Path, call: &Call) {
        let flags = call.argument(if call.name == "openat" { 2 } else { 1 });
        let node = match self.find(path) {
            Some(node) => node,
            None => self.make(path, Node::File(State::default())),
        };
        if flags.contains("O_TRUNC") {
            self.content(node).clear();
        }
        self.open.insert(descriptor, (node, 0));
    }

    fn write(&mut self, descriptor: i64, bytes: &[u8]) {
        let (node, at) = self.open[&descriptor];
        put(self.content(node), at, bytes);
        self.open.insert(descriptor, (node, at + bytes.len()));
    }

    /// What is found when the power is back.
    pub fn after(&self, loss: Loss) -> Image {
        let mut image = Image::new();
        self.collect(0, Path::new(""), loss, &mut image);
        image
    }

    fn collect(&self, node: usize, path: &Path, loss: Loss, image: &mut Image) {
        match &self.nodes[node] {
            Node::File(content) => drop(image.insert(path.to_owned(), Some(content.after(loss)))),
            Node::Folder(names) => {
                image.insert(path.to_owned(), None);
                let names = if loss.names_kept { &names.now } else { &names.safe };
                for (name, &node) in names {
                    self.collect(node, &path.join(name), loss, image);
                }
            }
        }
    }
}

impl State<Vec<u8>> {
    fn after(&self, loss: Loss) -> Vec<u8> {
        let Self { now, safe } = self;
        // What was written over, or behind, what is safe.
        let same = now.iter().zip(safe).take_while(|(a, b)| a == b).count();
        let same = if same == safe.len() { same } else { 0 };
        match loss.content {
            _ if now == safe => now.clone(),
            Content::Lost => safe.clone(),
            Content::Half => now[..same + (now.len() - same) / 2].to_vec(),
            Content::Zeros => {
                let mut bytes = now[..same].to_vec();
                bytes.resize(now.len(), 0);
                bytes
            }
        }
    }
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    content.resize(content.len().max(at + bytes.len()), 0);
    content[at..at + bytes.len()].copy_from_slice(bytes);
}
