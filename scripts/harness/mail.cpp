// SPDX-License-Identifier: GPL-2.0
/*
 * Makes a mail of git format-patch one that can be sent: To and Cc from what
 * get_maintainer.pl --roles says, a Message-ID that depends on the series and
 * not on the clock, what changed since the last version, and a last line that
 * names the base. Refuses, with exit status 1 and the reason on stderr, a mail
 * that must not go out.
 *
 * usage: mail --people FILE --id ID [--changes FILE] [--last FILE] < in > out
 */

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

[[noreturn]] void die(const std::string &why)
{
	std::cerr << "mail: " << why << '\n';
	exit(1);
}

std::string read_file(const std::string &path)
{
	std::ifstream in(path, std::ios::binary);

	if (!in)
		die(path + " cannot be read");
	return { std::istreambuf_iterator<char>(in), {} };
}

std::vector<std::string> lines_of(const std::string &text)
{
	std::vector<std::string> lines;
	size_t at = 0;

	while (at < text.size()) {
		size_t end = std::min(text.find('\n', at), text.size());

		lines.push_back(text.substr(at, end - at));
		at = end + 1;
	}
	return lines;
}

bool is_ascii(std::string_view text)
{
	return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x7f; });
}

struct person {
	std::string name, address;
	bool maintainer;

	/* Two spellings of an address are one mailbox. */
	std::string key() const
	{
		std::string low = address;

		std::transform(low.begin(), low.end(), low.begin(), [](unsigned char c) {
			return tolower(c);
		});
		return low;
	}
};

/* "Name <address> (role:SUBSYSTEM)" or "address (role:SUBSYSTEM)" */
person parse_person(const std::string &line)
{
	const size_t open = line.find('<'), role = line.find(" (", open == line.npos ? 0 : open);
	person p {};

	if (role == line.npos)
		die("no role in what get_maintainer.pl says: " + line);
	if (open != line.npos && open < role) {
		p.name = line.substr(0, open);
		while (!p.name.empty() && p.name.back() == ' ')
			p.name.pop_back();
		if (p.name.size() > 1 && p.name.front() == '"' && p.name.back() == '"')
			p.name = p.name.substr(1, p.name.size() - 2);
		p.address = line.substr(open + 1, line.find('>', open) - open - 1);
	} else {
		p.address = line.substr(0, role);
	}
	if (p.address.find('@') == p.address.npos || !is_ascii(p.address))
		die("no address in what get_maintainer.pl says: " + line);

	std::string word = line.substr(role + 2);

	word = word.substr(0, word.find_first_of(":)"));
	p.maintainer = word == "maintainer" || word == "supporter" || word == "odd fixer";
	return p;
}

/* RFC 2047: words of at most 75 characters, no character cut in two. */
std::string encode_words(const std::string &name)
{
	static const char hex[] = "0123456789ABCDEF";
	static const std::string begin = "=?UTF-8?q?", end = "?=";
	std::string out, word = begin;

	for (size_t i = 0; i < name.size(); ) {
		std::string piece;

		do {
			const unsigned char c = static_cast<unsigned char>(name[i++]);

			if (c == ' ')
				piece += '_';
			else if (c < 0x80 && isalnum(c))
				piece += static_cast<char>(c);
			else
				piece += { '=', hex[c >> 4], hex[c & 15] };
		} while (i < name.size() && (static_cast<unsigned char>(name[i]) & 0xc0) == 0x80);
		if (word.size() + piece.size() + end.size() > 75) {
			out += word + end + ' ';
			word = begin;
		}
		word += piece;
	}
	return out + word + end;
}

std::string mailbox(const person &p)
{
	if (p.name.empty())
		return p.address;

	std::string name = p.name;

	if (!is_ascii(name)) {
		name = encode_words(name);
	} else if (name.find_first_of("()<>@,;:\\\".[]") != name.npos) {
		std::string quoted;

		for (char c : name) {
			if (c == '"' || c == '\\')
				quoted += '\\';
			quoted += c;
		}
		name = '"' + quoted + '"';
	}
	return name + " <" + p.address + '>';
}

std::string header(const std::string &name, const std::vector<person> &people)
{
	std::string text;

	for (const person &p : people)
		text += (text.empty() ? name + ": " : ",\n    ") + mailbox(p);
	return text.empty() ? text : text + '\n';
}

/* <cover.TIME.git.ADDRESS>, <COMMIT.TIME.git.ADDRESS>: ID instead of TIME */
std::string without_clock(const std::string &line, const std::string &id)
{
	const size_t git = line.find(".git."), dot = git == line.npos || !git ? git :
						      line.rfind('.', git - 1);

	if (git == line.npos || dot == line.npos)
		return line;
	return line.substr(0, dot + 1) + id + line.substr(git);
}

/*
 * The header as git wrote it, but for two things that git 2.39 forgets in a cover
 * letter: From and Subject in RFC 2047 words, and that the body is UTF-8.
 */
std::string mend(const std::string &head, bool ascii_body)
{
	const std::vector<std::string> lines = lines_of(head);
	std::string out;
	bool mime = false;

	for (size_t i = 0; i < lines.size(); i++) {
		std::string line = lines[i];

		while (i + 1 < lines.size() && lines[i + 1].starts_with(' '))
			line += '\n' + lines[++i];
		mime |= line.starts_with("MIME-Version:");
		if (!is_ascii(line)) {
			std::erase(line, '\n');
			const size_t open = line.rfind(" <");

			if (line.starts_with("From: ") && open != line.npos)
				line = "From: " + encode_words(line.substr(6, open - 6)) + line.substr(open);
			else if (line.starts_with("Subject: "))
				line = "Subject: " + encode_words(line.substr(9));
		}
		out += line + '\n';
	}
	if (!mime && !ascii_body)
		out += "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n"
		       "Content-Transfer-Encoding: 8bit\n";
	return out;
}

/* What is wrong with a mail, in a few words. */
std::string objection(const std::string &head, const std::string &mail)
{
	const std::vector<std::string> lines = lines_of(head);

	for (const std::string &line : lines) {
		if (!is_ascii(line))
			return "a header is not ASCII: " + line;
		if (line.size() > 998)
			return "a header is longer than 998 characters: " + line.substr(0, 60);
	}
	if (mail.find("@localhost") != mail.npos)
		return "it has an address at localhost in it";
	if (mail.find("*** SUBJECT HERE ***") != mail.npos || mail.find("*** BLURB HERE ***") != mail.npos)
		return "it has a placeholder of git format-patch in it";
	for (const char *name : { "From: ", "Date: ", "Subject: ", "Message-Id: ", "To: " })
		if (std::none_of(lines.begin(), lines.end(), [name](const std::string &line) {
			return line.starts_with(name);
		    }))
			return "it has no header " + std::string(name, std::string_view(name).size() - 2);
	return "";
}

} // namespace

int main(int argc, char **argv)
{
	std::map<std::string, std::string> option;

	for (int i = 1; i + 1 < argc; i += 2)
		option[argv[i]] = argv[i + 1];
	if (argc % 2 == 0 || !option.contains("--people") || !option.contains("--id"))
		die("usage: mail --people FILE --id ID [--changes FILE] [--last FILE] < in > out");

	const std::string mail { std::istreambuf_iterator<char>(std::cin), {} };
	const size_t border = mail.find("\n\n");

	if (border == mail.npos)
		die("no mail on stdin");

	std::vector<person> to, cc;
	std::set<std::string> seen;

	for (const std::string &line : lines_of(read_file(option["--people"]))) {
		person p = parse_person(line);

		if (seen.insert(p.key()).second)
			(p.maintainer ? to : cc).push_back(p);
	}
	/* where nobody is responsible it goes to the lists */
	if (to.empty())
		std::swap(to, cc);

	std::string head;

	for (const std::string &line : lines_of(mail.substr(0, border + 1))) {
		const bool names_mail = line.starts_with("Message-Id:") ||
					line.starts_with("In-Reply-To:") || line.starts_with("References:");

		head += (names_mail ? without_clock(line, option["--id"]) : line) + '\n';
	}
	head += header("To", to) + header("Cc", cc);

	std::string body = mail.substr(border + 1);

	if (option.contains("--changes")) {
		const size_t at = body.find("\n---\n");

		if (at == body.npos)
			die("the mail is no patch: it has no line ---");
		body.insert(at + 5, read_file(option["--changes"]) + '\n');
	}
	if (option.contains("--last")) {
		const size_t at = body.rfind("\n-- \n");

		if (at == body.npos)
			die("the mail has no signature");
		body.insert(at + 1, read_file(option["--last"]));
	}

	head = mend(head, is_ascii(body));

	const std::string why = objection(head, head + body);

	if (!why.empty())
		die(why);
	std::cout << head << body;
	return std::cout.flush() ? 0 : 1;
}
