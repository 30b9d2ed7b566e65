/* Continues a faulting copy at its error exit. copy_guarded uses no stack, so that only the program counter changes. */
#include "base/fault.h"

#include <stdint.h>
#include <ucontext.h>

#include "base/copy.h"

int fault_handle(void *context)
{
	ucontext_t *state = context;
	greg_t *at = &state->uc_mcontext.gregs[REG_RIP];

	if (*at < (greg_t)(uintptr_t)copy_guarded_begin || *at >= (greg_t)(uintptr_t)copy_guarded_end)
		return 0;
	*at = (greg_t)(uintptr_t)copy_guarded_fault;
	return 1;
}
