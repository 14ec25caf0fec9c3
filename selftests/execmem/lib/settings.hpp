/* SPDX-License-Identifier: GPL-2.0 */
/* Switches of the machine that a test needs in another position. */
#ifndef EXECMEM_SETTINGS_HPP
#define EXECMEM_SETTINGS_HPP

#include <string>

/*
 * Writes @value to @path until the test ends: then what was there comes back,
 * also when the test is stopped by SIGTERM, SIGINT or SIGHUP. 0 or -errno.
 */
int set_for_now(const std::string &path, const std::string &value);

/* Puts back what set_for_now() has changed, when the scope is left. */
struct restore_when_done {
	restore_when_done();
	~restore_when_done();
	restore_when_done(const restore_when_done &) = delete;
	restore_when_done &operator=(const restore_when_done &) = delete;
};

#endif /* EXECMEM_SETTINGS_HPP */
