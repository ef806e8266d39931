// The processors that kernels are compiled for, and the choice among them at run time.
//
// A file `*_kernels.cpp` is compiled once for each target, with `LOSSBENCH_TARGET` defined as the
// target's namespace. Such a file includes no header with inline functions of its own outside of
// that namespace: the linker would keep one copy of them, perhaps one that this processor lacks.
#pragma once

#if defined(__x86_64__)
#define LOSSBENCH_X86 1
#endif

namespace lossbench {

// In order: each has what those before it have.
enum class Target { plain, avx2, avx512, avx512bf16 };

// The widest target that this processor has; LOSSBENCH_NATIVE_TARGET in the environment, `plain`,
// `avx2` or `avx512`, takes a narrower one. The kernels of `avx512` serve `avx512bf16` too; they
// ask for it where they multiply bfloat16.
Target target();

}  // namespace lossbench

// Declares a kernel for every target: LOSSBENCH_KERNEL(void f(int)).
// Calls the kernel of this processor's target: LOSSBENCH_CALL(f(1)).
#if defined(LOSSBENCH_X86)
#define LOSSBENCH_KERNEL(...)              \
  namespace plain { __VA_ARGS__; }         \
  namespace avx2 { __VA_ARGS__; }          \
  namespace avx512 { __VA_ARGS__; }
#define LOSSBENCH_CALL(...)                                          \
  (target() >= Target::avx512 ? avx512::__VA_ARGS__                  \
   : target() == Target::avx2 ? avx2::__VA_ARGS__                    \
                              : plain::__VA_ARGS__)
#else
#define LOSSBENCH_KERNEL(...) \
  namespace plain { __VA_ARGS__; }
#define LOSSBENCH_CALL(...) plain::__VA_ARGS__
#endif
