//! What the processor of this host can do, as far as the loader asks.

/// The x86-64 level of this host's processor, 1 to 4 (x86-64 psABI, "micro-architecture
/// levels"); 1 on other machines.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn level() -> u8 {
    use std::arch::is_x86_feature_detected as has;
    let second = has!("cmpxchg16b") && has!("popcnt") && has!("sse3") && has!("sse4.2") && has!("ssse3");
    let third =
        has!("avx2") && has!("bmi1") && has!("bmi2") && has!("f16c") && has!("fma") && has!("lzcnt") && has!("movbe");
    let fourth = has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl");
    match (second, third, fourth) {
        (true, true, true) => 4,
        (true, true, false) => 3,
        (true, false, _) => 2,
        (false, ..) => 1,
    }
}

/// The x86-64 level of this host's processor, 1 to 4; 1 on other machines.
#[cfg(not(target_arch = "x86_64"))]
#[must_use]
pub const fn level() -> u8 {
    1
}
