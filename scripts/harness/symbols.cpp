// SPDX-License-Identifier: GPL-2.0
/*
 * Does a tool that reads dumps find the symbols of modules? The test "dump" says in
 * its result which symbols there are, as /proc/kallsyms had them:
 *
 *   # symbol MODULE t|d NAME ADDRESS
 *
 * symbols crash RESULT            what to ask crash for: each name, each address
 * symbols drgn RESULT             the same for dump.py
 * symbols judge RESULT OUTPUT [names]
 *                                 does OUTPUT have, twice for each of them (asked for
 *                                 by name and by address), "ADDRESS (T) NAME [MODULE]"?
 *                                 With "names" once will do for data. Prints what is
 *                                 not found; exits with 1 if anything is not
 */
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace {

struct symbol {
	std::string module, type, name, address;
};

std::vector<symbol> symbols_of(const char *file)
{
	std::vector<symbol> all;
	std::ifstream in(file);

	for (std::string line; std::getline(in, line); ) {
		std::istringstream words(line);
		std::string hash, what;
		symbol s;

		if (words >> hash >> what >> s.module >> s.type >> s.name >> s.address && hash == "#" &&
		    what == "symbol")
			all.push_back(s);
	}
	return all;
}

/* How often a line has these words, whatever else it has: tools add a "0x", a letter for the type, a source file. */
unsigned int lines_with(const std::vector<std::string> &lines, const symbol &s)
{
	unsigned int n = 0;

	for (const std::string &line : lines) {
		std::istringstream words(line);
		bool address = false, name = false, module = false;

		for (std::string word; words >> word; ) {
			if (word.starts_with("0x"))
				word.erase(0, 2);
			address |= word == s.address;
			name |= word == s.name;
			module |= word == "[" + s.module + "]";
		}
		n += address && name && module;
	}
	return n;
}

} // namespace

int main(int argc, char **argv)
{
	if (argc < 3) {
		fputs("usage: symbols crash|drgn RESULT; symbols judge RESULT OUTPUT [names]\n", stderr);
		return 2;
	}
	const std::vector<symbol> all = symbols_of(argv[2]);

	if (all.empty()) {
		fprintf(stderr, "symbols: %s has no symbols\n", argv[2]);
		return 1;
	}
	if (!strcmp(argv[1], "crash")) {
		puts("mod");
		for (const symbol &s : all)
			printf("sym %s\nsym %s\n", s.name.c_str(), s.address.c_str());
		puts("quit");
		return 0;
	}
	if (!strcmp(argv[1], "drgn")) {
		for (const symbol &s : all)
			printf("%s %s %s\n", s.module.c_str(), s.name.c_str(), s.address.c_str());
		return 0;
	}
	if (strcmp(argv[1], "judge") || argc < 4)
		return 2;

	std::ifstream in(argv[3]);
	std::vector<std::string> lines;
	unsigned int bad = 0;

	for (std::string line; std::getline(in, line); )
		lines.push_back(line);
	const bool names = argc > 4 && !strcmp(argv[4], "names");

	for (const symbol &s : all) {
		const unsigned int n = lines_with(lines, s), wanted = names && s.type == "d" ? 1 : 2;

		if (n >= wanted)
			continue;
		bad++;
		printf("%s of %s (%s) at %s: found %u times of %u\n", s.type == "t" ? "text" : "data",
		       s.module.c_str(), s.name.c_str(), s.address.c_str(), n, wanted);
	}
	printf("%zu symbols, %u not found by name%s\n", all.size(), bad,
	       names ? " and, those of text, by address" : " and by address");
	return bad ? 1 : 0;
}
