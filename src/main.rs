//! radhold, one binary. Reads arguments, calls [`radhold::cli`], and turns the outcome into an exit code.

fn main() -> std::process::ExitCode {
    radhold::cli::main()
}
