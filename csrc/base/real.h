/* libc's own functions behind the interposed names: found by dlsym(RTLD_NEXT) the first time each is used, since
 * allocators call open and read before any constructor has run. Any thread. */
#ifndef BYWAY_BASE_REAL_H
#define BYWAY_BASE_REAL_H

/* The address of libc's `name`; aborts with a message when libc has none. */
void *real_find(const char *name);
/* The same, NULL when libc has none. */
void *real_find_optional(const char *name);

/* real_find for a fast path (real_keeping.S): no register but the result is changed, so that nothing is saved before. */
static inline void *real_find_first(const char *name)
{
	void *found;

	__asm__ volatile("leaq -128(%%rsp), %%rsp\n\t" /* the red zone of a leaf */
	                 "call real_find_keeping\n\t"
	                 "leaq 128(%%rsp), %%rsp"
	                 : "=a"(found)
	                 : "0"(name)
	                 : "cc", "memory", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	return found;
}

/* REAL(name) is libc's function, typed like its declaration. */
#define REAL(name) \
	(__extension__({ \
		static __typeof__(&name) found_; \
		__typeof__(&name) function_ = __atomic_load_n(&found_, __ATOMIC_RELAXED); \
		if (__builtin_expect(!function_, 0)) { \
			function_ = (__typeof__(&name))real_find_first(#name); \
			__atomic_store_n(&found_, function_, __ATOMIC_RELAXED); \
		} \
		function_; \
	}))

#endif
