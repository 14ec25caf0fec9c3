/* SPDX-License-Identifier: GPL-2.0 */
/* Modules come and go. */
#ifndef EXECMEM_MODULES_HPP
#define EXECMEM_MODULES_HPP

#include <string>
#include <vector>

#include "ktap.hpp"
#include "types.hpp"

bool have_modules();

std::string self_dir();

/* The guest has all modules in /modules; a build directory has ours beside us. */
std::string module_path(const std::string &name);

bool module_loaded(std::string name);

/* 0 or -errno. */
int unload_module(std::string name);

int init_module_image(const std::string &image, const std::string &params = "");

std::string modinfo(const std::string &image, const std::string &key);

/* Load @name and what it depends on; 0 or -errno. */
int load_module(const std::string &name, const std::string &params = "");

/* A module that is loaded for as long as the object lives. */
struct loaded_module {
	std::string name;
	int err;

	explicit loaded_module(const std::string &n, const std::string &params = "")
		: name(n), err(load_module(n, params)) { }
	~loaded_module() { unload(); }
	loaded_module(const loaded_module &) = delete;
	loaded_module &operator=(const loaded_module &) = delete;

	int unload();
};

/* Modules of ours need CONFIG_MODULES; where that is there they must be too. */
result need_module(const std::string &name, const char *option = nullptr);

/*
 * Many modules from one file: execmem_clone.ko carries a placeholder for its
 * own name wherever the name stands; give each copy another number.
 */
struct module_clones {
	std::vector<std::string> names;
	int err = 0;

	explicit module_clones(unsigned int n, unsigned int first = 0);

	~module_clones() { unload(); }
	module_clones(const module_clones &) = delete;
	module_clones &operator=(const module_clones &) = delete;

	int unload();
};

u64 section_addr(const std::string &module, const std::string &section);

std::string module_param(const std::string &module, const std::string &param);

#endif /* EXECMEM_MODULES_HPP */
