//! One test for each family, so that one that fails does not hide the others.

/// `each_family!(check_family);` becomes `#[test] fn llama() { check_family("llama") }` and so on,
/// and a test that none is left out.
#[macro_export]
macro_rules! each_family {
    ($check:path) => {
        $crate::each_family!($check;
            llama "llama";
            llama_rope3 "llama-rope3";
            qwen3 "qwen3";
            mixtral "mixtral";
            olmoe "olmoe";
            qwen2_moe "qwen2_moe";
            qwen3_moe "qwen3_moe";
            granitemoe "granitemoe";
            deepseek_v2 "deepseek_v2";
            gpt_oss "gpt_oss";
        );
    };
    ($check:path; $($name:ident $family:literal;)*) => {
        $(#[test] fn $name() { $check($family); })*

        #[test]
        fn no_family_is_left_out() {
            assert_eq!([$($family),*], $crate::FAMILIES);
        }
    };
}
