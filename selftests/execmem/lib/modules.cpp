// SPDX-License-Identifier: GPL-2.0
#include "modules.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc.hpp"

bool have_modules()
{
	return exists("/proc/modules");
}

std::string self_dir()
{
	char buf[4096];
	ssize_t n = readlink("/proc/self/exe", buf, sizeof(buf) - 1);
	std::string s(buf, std::max<ssize_t>(n, 0));

	return s.substr(0, s.rfind('/'));
}

std::string module_path(const std::string &name)
{
	for (const std::string &dir : { std::string("/modules"), self_dir() }) {
		for (char c : { '_', '-' }) {
			std::string file = name;

			std::replace_if(file.begin(), file.end(),
				[](char d) { return d == '_' || d == '-'; }, c);
			for (const std::string &p : { dir + "/" + name + ".ko", dir + "/" + file + ".ko" })
				if (exists(p))
					return p;
		}
	}
	return "";
}

bool module_loaded(std::string name)
{
	std::replace(name.begin(), name.end(), '-', '_');
	return exists("/sys/module/" + name + "/initstate");
}

int unload_module(std::string name)
{
	std::replace(name.begin(), name.end(), '-', '_');
	return syscall(SYS_delete_module, name.c_str(), O_NONBLOCK) ? -errno : 0;
}

int init_module_image(const std::string &image, const std::string &params)
{
	return syscall(SYS_init_module, image.data(), image.size(), params.c_str()) ? -errno : 0;
}

std::string modinfo(const std::string &image, const std::string &key)
{
	std::string needle = std::string(1, '\0') + key + "=";
	size_t at = image.find(needle);

	return at == image.npos ? "" : std::string(image.c_str() + at + needle.size());
}

int load_module(const std::string &name, const std::string &params)
{
	std::string path = module_path(name);
	unique_fd f(path.empty() ? -1 : open(path.c_str(), O_RDONLY | O_CLOEXEC));

	if (!f)
		return -ENOENT;
	std::string deps = modinfo(read_or_fail(path), "depends");

	for (const std::string &d : split(deps, ',')) {
		int err = module_loaded(d) ? 0 : load_module(d);

		if (err)
			return err;
	}
	return syscall(SYS_finit_module, f.fd, params.c_str(), 0) ? -errno : 0;
}

int loaded_module::unload()
{
	if (err)
		return err;
	err = -ENODEV;
	return unload_module(name);
}

result need_module(const std::string &name, const char *option)
{
	if (!have_modules())
		return skip("CONFIG_MODULES is not set");
	if (!module_path(name).empty())
		return pass();
	if (option)
		return skip("%s is not set (no %s.ko)", option, name.c_str());
	return fail("%s.ko is missing", name.c_str());
}

module_clones::module_clones(unsigned int n, unsigned int first)
{
	static const std::string placeholder = "execmem_clone_000";
	std::string image = read_or_fail(module_path("execmem_clone_000"));

	if (image.empty())
		err = -ENOENT;
	for (unsigned int i = first; !err && i < first + n; i++) {
		std::string name = format("execmem_clone_%03u", i);
		std::string copy = image;

		for (size_t at = 0; (at = copy.find(placeholder, at)) != copy.npos; at += name.size())
			copy.replace(at, placeholder.size(), name);
		err = init_module_image(copy);
		if (!err)
			names.push_back(name);
	}
}

int module_clones::unload()
{
	int first = 0;

	for (const std::string &n : names) {
		int e = unload_module(n);

		if (e && !first)
			first = e;
	}
	names.clear();
	return first;
}

u64 section_addr(const std::string &module, const std::string &section)
{
	auto s = slurp("/sys/module/" + module + "/sections/" + section);

	return s ? strtoull(s->c_str(), nullptr, 16) : 0;
}

std::string module_param(const std::string &module, const std::string &param)
{
	return trim(read_or_fail("/sys/module/" + module + "/parameters/" + param));
}
