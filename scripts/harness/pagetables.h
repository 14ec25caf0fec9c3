/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The oracle on W^X: reads the guest's page tables out of its physical memory
 * while it stands still, and joins them on physical address. It shares no
 * code with the kernel under test and needs nothing of it.
 */
#pragma once

#include "qemu.h"

#include <string>
#include <vector>

struct oracle_answer {
	enum { ok, not_ok, skip } kind;
	std::string text;		/* of the last line */
	std::vector<std::string> details;	/* lines before it, without '#' */
};

/* The guest must have been stopped. */
oracle_answer check_aliases(qemu &guest, const std::string &arch);
