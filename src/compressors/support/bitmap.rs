//! A subset of 0..d as a bitmap.

use super::INDEX_BLOCK;

/// Bit j of the words says whether j is in the set.
#[derive(Default)]
pub struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    /// The empty subset of 0..dim.
    pub fn clear(&mut self, dim: usize) {
        self.words.clear();
        self.words.resize(dim.div_ceil(64), 0);
    }

    /// The words, to be overwritten; [`Bitmap::cut`] then drops what is not below the dimension.
    pub fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    /// Drops the indices that are not below `dim`.
    pub fn cut(&mut self, dim: usize) {
        if let (Some(last), tail @ 1..) = (self.words.last_mut(), dim % 64) {
            *last &= (1 << tail) - 1;
        }
    }

    /// Adds an index; whether it is new.
    #[inline(always)]
    pub fn insert(&mut self, index: usize) -> bool {
        let (word, bit) = (&mut self.words[index / 64], 1u64 << (index % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// The subset of the other indices below `dim`.
    pub fn complement(&mut self, dim: usize) {
        self.words.iter_mut().for_each(|word| *word = !*word);
        self.cut(dim);
    }

    /// Number of indices.
    #[inline(always)]
    pub fn len(&self) -> usize {
        let mut len = 0;
        for word in &self.words {
            len += word.count_ones() as usize;
        }
        len
    }

    /// Visits the indices in ascending blocks.
    #[inline(always)]
    pub fn visit(&self, mut visit: impl FnMut(&[u32])) {
        let mut block = [0; INDEX_BLOCK + 64];
        let mut len = 0;
        for (at, &word) in self.words.iter().enumerate() {
            len += spread(word, 64 * at as u32, &mut block[len..len + 64]);
            if len >= INDEX_BLOCK {
                visit(&block[..len]);
                len = 0;
            }
        }
        visit(&block[..len]);
    }
}

/// Writes `first` + the positions of the set bits, and how many they are. Eight are written whether
/// set or not: at common densities that is cheaper than a branch on their number, which would be
/// predicted wrongly once a word (Langdale, Lemire, VLDB Journal 2019, do so in simdjson).
#[inline(always)]
fn spread(mut word: u64, first: u32, out: &mut [u32]) -> usize {
    let len = word.count_ones() as usize;
    let (eights, _) = out.as_chunks_mut::<8>();
    let mut written = 0;
    for eight in eights {
        for index in eight {
            *index = first.wrapping_add(word.trailing_zeros());
            word &= word.wrapping_sub(1);
        }
        written += 8;
        if written >= len {
            break;
        }
    }
    len
}
