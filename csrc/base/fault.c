/* Continues a faulting copy at its error exit. copy_guarded uses no stack, so that only the program counter changes. */
#include "base/fault.h"

#include <stdint.h>
#include <ucontext.h>

#include "base/copy.h"

/* The instructions of fault_load: where each is, and where it goes on; both relative to the word itself. */
struct load {
	int32_t at;
	int32_t after;
};

/* Weak, since the library without interposition has none. */
#define TABLE(name) \
	extern const struct load fault_loads_begin_##name[] __attribute__((weak, visibility("hidden"))); \
	extern const struct load fault_loads_end_##name[] __attribute__((weak, visibility("hidden")))

TABLE(waits);
TABLE(messages);

static int load_handle(greg_t *at, const struct load *begin, const struct load *end)
{
	for (const struct load *load = begin; load != end; load++)
		if (*at == (greg_t)(uintptr_t)&load->at + load->at) {
			*at = (greg_t)(uintptr_t)&load->after + load->after;
			return 1;
		}
	return 0;
}

int fault_handle(void *context)
{
	ucontext_t *state = context;
	greg_t *at = &state->uc_mcontext.gregs[REG_RIP];

	if (load_handle(at, fault_loads_begin_waits, fault_loads_end_waits) ||
	    load_handle(at, fault_loads_begin_messages, fault_loads_end_messages))
		return 1;
	if (*at < (greg_t)(uintptr_t)copy_guarded_begin || *at >= (greg_t)(uintptr_t)copy_guarded_end)
		return 0;
	*at = (greg_t)(uintptr_t)copy_guarded_fault;
	return 1;
}
