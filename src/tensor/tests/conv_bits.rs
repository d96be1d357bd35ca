//! The bits of convolutions and their gradients: the same for any number of threads and at every level with products of our
//! own.

use std::io::Write;

use rhapsode_tensor::{DType, Tensor, grad, ops::conv::Conv, random::Stream};

fn draw(name: &str, shape: &[usize]) -> Tensor {
    let drawn = Stream::new(5, name).randn(shape, DType::F32);
    drawn.unwrap().param().unwrap()
}

/// Prints a line for each value and gradient.
#[test]
#[ignore = "run by the test below, in processes of their own"]
fn print_bits() {
    // By Winograd's algorithm, in one group and in two, of small images and of large ones; and by columns.
    for (x, w, groups) in [
        ([9, 24, 8, 8], [40, 24, 3, 3], 1),
        ([3, 32, 14, 14], [36, 16, 3, 3], 2),
        ([2, 24, 40, 37], [16, 24, 3, 3], 1),
        ([5, 6, 9, 9], [16, 6, 3, 3], 1),
    ] {
        let conv = Conv {
            padding: [1, 1],
            groups,
            ..Conv::default()
        };
        let inputs = [draw("x", &x), draw("w", &w), draw("b", &w[..1])];
        let y = inputs[0]
            .conv2d(&inputs[1], Some(&inputs[2]), &conv)
            .unwrap();
        let loss = y.sqr().unwrap().sum_all().unwrap();
        let mut all = grad(&loss, &inputs.each_ref(), false).unwrap();
        all.push(y.detach());
        for tensor in all {
            let hash = tensor.to_vec().unwrap().iter().fold(0u64, |hash, x| {
                let mixed = (hash ^ x.to_bits()).wrapping_mul(0x0100_0000_01b3);
                mixed.rotate_left(17)
            });
            writeln!(std::io::stdout(), "bits of {x:?} {w:?}: {hash:016x}").unwrap();
        }
    }
}

#[test]
fn bits_depend_neither_on_threads_nor_on_the_width_of_registers() {
    let run = |threads: &str, level: &str| {
        let me = std::env::current_exe().unwrap();
        let out = std::process::Command::new(me)
            .args(["print_bits", "--exact", "--ignored", "--nocapture"])
            .env("RHAPSODE_THREADS", threads)
            .env("RHAPSODE_SIMD", level)
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("bits of "));
        lines.map(String::from).collect::<Vec<_>>()
    };
    let one = run("1", "avx512");
    assert_eq!(one.len(), 16, "{one:?}");
    for (threads, level) in [
        ("2", "avx512"),
        ("7", "avx512"),
        ("1", "avx2"),
        ("3", "avx2"),
    ] {
        assert_eq!(run(threads, level), one, "{threads} threads, {level}");
    }
}
