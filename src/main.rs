//! radhold, one binary. Reads arguments, calls [`radhold::cli`], and turns the outcome into an exit code.

/// Records come in by one thread and are let go by others, many a second: the C library's heap is slow with that.
#[global_allocator]
static HEAP: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    radhold::cli::main()
}
