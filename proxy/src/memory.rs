//! Memory that is free again goes back to the kernel, also when nothing happens any more.

use std::hint::black_box;

/// So large a block has a page of mimalloc's for itself. When such a page is freed mimalloc gives back
/// what has been free for a second, of all sizes; at rest it frees none by itself.
const BLOCK: usize = 1024 * 1024;

/// Gives back what has been free for a while. Cheap: the block is not touched.
pub(crate) fn give_back() {
    drop(black_box(Vec::<u8>::with_capacity(BLOCK)));
}
