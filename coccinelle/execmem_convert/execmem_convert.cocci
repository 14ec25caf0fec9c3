// SPDX-License-Identifier: GPL-2.0-only
///
/// module_alloc(), bpf_jit_alloc_exec() and alloc_insn_page() are gone, and with
/// them module_memfree(), bpf_jit_free_exec() and free_insn_page(). Executable
/// memory comes from execmem_text_alloc() or jit_text_alloc(), is made read-only
/// and executable by execmem_finish(), and goes back with execmem_free() or
/// jit_free(). set_memory_*() and set_vm_flush_reset_perms() of it go away.
///
// Confidence: Moderate
// Options: --no-includes --include-headers
// Keywords: module_alloc, module_memfree, bpf_jit_alloc_exec, alloc_insn_page
// Comments: Follows a pointer through variables, members of structures, and
//	arguments and results of functions, in the files that spatch is given at
//	once. What it cannot decide is not converted: MODE=report has a line "by
//	hand" for it, and the patch a FIXME where a part of it was converted.
// Comments: -D census prints file, function and name for each use of what is gone.
//

virtual patch
virtual context
virtual org
virtual report
virtual census

// First rules collect what is assigned, passed and returned where, and what is
// called. From that decide() finds which memory each call may be about, and what
// becomes of the call. Then everything gets the name of what becomes of it, and
// plain rules do the rest, as they need not ask any more whose memory it is.

@initialize:python@
@@
import os
import re
from collections import defaultdict

ALLOCS = {'module_alloc': 'execmem_text_alloc', 'alloc_insn_page': 'execmem_text_alloc',
          'bpf_jit_alloc_exec': 'jit_text_alloc'}
NAMED_FREES = {'module_memfree': 'execmem_free', 'free_insn_page': 'execmem_free',
               'bpf_jit_free_exec': 'jit_free'}
GONE = set(ALLOCS) | set(NAMED_FREES)
FREES = set(NAMED_FREES) | {'vfree', 'kvfree'}
SEALS = {'set_memory_x', 'set_memory_rox', '__set_memory'}
# functions that hand through what they are given
SAME = {'READ_ONCE', 'smp_load_acquire', 'rcu_dereference', 'no_free_ptr', 'kasan_reset_tag'}
GLOBAL = ('', '')


def reset():
    """A file, or all the files that spatch is given at once."""
    global files, functions, types, fields, macros, static, params, own, flows, calls, mentions
    global firsts, lasts, ends, checked, counts, has, roles, hands
    files, functions = set(), set()
    types = {}                  # (file, function, variable): type
    fields = {}                 # (structure, member): type
    macros = {}                 # name: text
    static = {}                 # function: is it static?
    params = {}                 # (function, number): place of that parameter
    own = set()                 # (file, name): something else that is called like ours
    flows = defaultdict(set)    # place: what gets stored there
    calls = {}                  # spot: (position, function, argument, number of pages)
    mentions = {}               # spot: (position, name)
    firsts, lasts, ends, checked = set(), set(), set(), set()   # spots, see the rules
    counts = defaultdict(set)   # (file and function, place): numbers of pages there
    has = defaultdict(set)      # an #include, or the need of it: files
    roles = {}                  # spot: (position, name, what takes its place)
    hands = []                  # (position, name, why it is not decided here)


def file_of(p):
    """Its name; once a rule has changed something it is that of a temporary file."""
    return re.sub(r'^cocci_small_output-\d+-\w+-', '', os.path.basename(p.file))


def where(p):
    return file_of(p), p.current_element


def spot(p):
    return p.file, int(p.line), int(p.column)


def text(e):
    return re.sub(r'\s*([^\w\s])\s*', r'\1', e).strip()


def bare(e):
    """Without casts, and without parentheses around all of it."""
    e = text(e)
    while True:
        s = re.sub(r'^\((?:\w+ )*\w+\**\)(?=[\w(&])', '', e)
        if s == e:
            s = re.sub(r'^\(([^()]*)\)$', r'\1', e)
        if s == e:
            return e
        e = s


def structure(t):
    return re.sub(r'\b(const|volatile)\b|\[.*\]|\*', '', t).strip()


def is_own(w, name):
    return bool({(w[0], name), ('', name)} & own)


def place(w, e):
    """Where e is stored; the same for each way to write it that is understood."""
    if e.startswith('*'):
        pointer = place(w, bare(e[1:]))
        return pointer and ('at', pointer)
    if not re.match(r'[A-Za-z_]\w*(\[[^]]*\]|(->|\.)\w+)*$', e):
        return None
    parts = re.split(r'->|\.', re.sub(r'\[[^]]*\]', '[]', e))
    names = [s.replace('[]', '') for s in parts]
    scope = w if w + (names[0],) in types else GLOBAL
    if len(parts) == 1:
        return ('variable', scope, parts[0])
    inside, i = structure(types.get(scope + (names[0],), '? ' + names[0])), 1
    while i < len(parts) - 1 and (inside, names[i]) in fields:
        inside = structure(fields[inside, names[i]])
        i += 1
    return ('member', inside, '.'.join(parts[i:]))


def source(w, e):
    """What e is: a place, an allocation, 'other' memory, 'unknown', None for NULL."""
    e = bare(e)
    chain = re.match(r'[\w.>\[\]-]+=(?!=)(.+)$', e)
    if chain:
        return source(w, chain.group(1))
    call = re.match(r'(\w+)\((.*)\)$', e)
    if call:
        name, args = call.groups()
        if name in ALLOCS and not is_own(w, name):
            return ('alloc', w, name, args)
        if name in static:
            return ('result', name)
        if name in SAME:
            return source(w, args.split(',')[0])
        if name == 'ERR_PTR':
            return None
        return 'other' if re.search(r'alloc|memdup|map', name) else 'unknown'
    if e in ('NULL', '0'):
        return None
    return place(w, e) or 'unknown'


def origins(s):
    """The allocations that s may come from, and 'other' and 'unknown'."""
    found, seen, todo = set(), set(), [s]
    while todo:
        s = todo.pop()
        if s is None or s in seen:
            continue
        seen.add(s)
        if isinstance(s, str) or s[0] == 'alloc':
            found.add(s)
        else:
            todo += flows.get(s, ['unknown'])
    return found


def split(w, e):
    found = origins(source(w, e))
    allocs = {s for s in found if not isinstance(s, str)}
    return allocs, found - allocs


def not_ours(p, f):
    file = where(p)[0]
    own.add((file if not file.endswith('.h') else '', f))


def define(p, f, is_static):
    files.add(where(p)[0])
    functions.add(f)
    if is_static:
        not_ours(p, f)
    if is_static or f not in GONE:
        static[f] = is_static


def declare(p, t, x):
    w = where(p)
    types[(w if w[1] in functions else GLOBAL) + (x,)] = t
    if '(*' in text(t):
        not_ours(p, x)


def parameter(p, f, n, t, x):
    declare(p, t, x)
    params[f, n] = ('variable', where(p), x)


def assign(p, l, r):
    w = where(p)
    to = place(w, bare(l))
    if to:
        flows[to].add(source(w, r))


def argument(p, f, n, e):
    w = where(p)
    if e.startswith('&'):
        to = place(w, bare(e[1:]))
        if to:
            flows[to].add(('at', ('argument', f, n)) if f in static else 'unknown')
    elif f in static:
        flows['argument', f, n].add(source(w, e))


def call(p, f, e='', n=''):
    calls[spot(p)] = (p, f, e, n)
    if f in ('set_memory_ro', 'set_memory_x'):
        counts[where(p), source(where(p), e)].add(text(n))


def pair(p, q):
    firsts.add(spot(p))
    lasts.add(spot(q))


def whole(w, e, n, allocs):
    """Are n pages at e all of it? No only where something speaks against it."""
    if len(counts[w, source(w, e)]) > 1:
        return False

    def pages(size):
        size = macros.get(size, size).strip('()')
        m = re.match(r'(?:(\w+)\*)?PAGE_SIZE(?:\*(\w+))?$|(\w+)<<PAGE_SHIFT$', size)
        return m and (m.group(1) or m.group(2) or m.group(3) or '1')

    n = text(n)
    size_of = re.match(r'(?:PAGE_ALIGN|round_up)?\(?([\w.>-]+?)(?:,PAGE_SIZE)?\)?'
                       r'(?:>>PAGE_SHIFT|/PAGE_SIZE)$', n) or \
        re.match(r'(?:DIV_ROUND_UP|PFN_UP)\(([^,]*?)(?:,PAGE_SIZE)?\)$', n)
    for _, there, name, size in allocs:
        size = size if name != 'alloc_insn_page' else 'PAGE_SIZE'
        if n.isdigit() and pages(size) != n:
            return False
        if size_of and there == w and size_of.group(1) != size:
            return False
    return True


def decide():
    global reach                # spot: the allocations it may be of, and what else
    for (f, n), to in params.items():
        flows[to].add(('argument', f, n))
        flows['at', ('argument', f, n)].add(('at', to))
        if not static.get(f) and len(files) == 1:
            flows[to].add('unknown')
    for s in [s for s, c in calls.items() if is_own(where(c[0]), c[1])]:
        del calls[s]

    # Where a pointer is used that may also be to other memory nothing can be
    # converted, neither this use nor the allocations, nor what else is theirs.
    reach = {s: split(where(p), e) for s, (p, f, e, n) in calls.items() if f not in ALLOCS}
    blocked = set()
    for s, (allocs, rest) in reach.items():
        f = calls[s][1]
        if f == 'vfree_atomic' or rest - ({'unknown'} if f in NAMED_FREES else set()):
            blocked |= allocs
    while any(a & blocked and not a <= blocked for a, _ in reach.values()):
        blocked |= set().union(*(a for a, _ in reach.values() if a & blocked))
    sealed = set().union(*(a for s, (a, _) in reach.items() if calls[s][1] in SEALS))
    frees = [reach[s] for s in reach if calls[s][1] in FREES]
    freed = set().union(*(allocs for allocs, _ in frees))
    frees_unknown = any('unknown' in rest for _, rest in frees)
    followed = set().union(*flows.values())
    allocates = any(f in ALLOCS for _, f, _, _ in calls.values())

    def give_back(allocs):
        return 'jit_free' if all(a[2] == 'bpf_jit_alloc_exec' for a in allocs) else 'execmem_free'

    def use(s, new):
        roles[s] = (calls[s][0], calls[s][1], new)

    def by_hand(s, why):
        hands.append((calls[s][0], calls[s][1], why))

    for s, (p, f, e, n) in calls.items():
        w = where(p)
        if f in ALLOCS:
            me = ('alloc', w, f, text(e))
            if me in blocked:
                by_hand(s, 'a use of it cannot be converted, see there')
            elif me not in followed:
                by_hand(s, 'it cannot be seen where the pointer goes')
            else:
                is_open = me not in sealed and s not in checked
                use(s, ('cocci_open_' if is_open else 'cocci_') + f)
                if is_open:
                    by_hand(s, 'nothing here makes it executable, execmem_finish() has to')
                if me not in freed and not frees_unknown:
                    by_hand(s, 'nothing here frees it, ' + give_back([me]) + '() has to')
            continue
        allocs, rest = reach[s]
        if f in NAMED_FREES and not allocs and 'other' not in rest:
            use(s, NAMED_FREES[f])
        elif f in NAMED_FREES and not allocs:
            by_hand(s, 'this may be memory of another allocator')
        elif not allocs and 'unknown' in rest and w[1] not in GONE and allocates:
            by_hand(s, 'it cannot be seen what memory this is')
        elif allocs and f == 'vfree_atomic':
            by_hand(s, 'execmem_free() may sleep')
        elif allocs & blocked:
            by_hand(s, 'this may also be other memory')
        elif not allocs:
            pass
        elif f in FREES:
            use(s, give_back(allocs))
        elif f == 'set_vm_flush_reset_perms':
            use(s, 'cocci_flush')
        elif f == '__set_memory':
            by_hand(s, 'execmem_finish() is for that')
            use(s, 'cocci_left_' + f)
        elif not whole(w, e, n, allocs):
            by_hand(s, 'this may be a part of the memory, execmem_finish() takes all of it')
            use(s, 'cocci_left_' + f)
        elif s in firsts:
            use(s, 'cocci_first')
        elif s in lasts or f == 'set_memory_rox':
            use(s, 'cocci_finish')
        elif s in ends:
            use(s, 'cocci_end')
        elif f == 'set_memory_x':
            by_hand(s, 'execmem_finish() makes it read-only, too')
            use(s, 'cocci_x')
        elif f == 'set_memory_ro':
            by_hand(s, 'execmem_finish() makes it executable, too')
            use(s, 'cocci_left_' + f)
        else:
            by_hand(s, 'finished text is changed with execmem_update()')
            use(s, 'cocci_left_' + f)

    for s, (p, f) in mentions.items():
        if s in calls or is_own(where(p), f):
            continue
        if f in NAMED_FREES:
            roles[s] = (p, f, NAMED_FREES[f])
        else:
            hands.append((p, f, 'execmem_text_alloc() takes the type of the memory, too'))


def include():
    global swaps, removals, additions, first_additions          # files
    changed = {file_of(p) for p, _, _ in roles.values()}
    left = {file_of(p) for p, f, _ in hands if f in GONE and spot(p) not in roles}
    loader = changed & has['loader'] - has['need of loader'] - left
    add = changed - has['execmem'] - loader
    swaps, removals = loader - has['execmem'], loader & has['execmem']
    additions, first_additions = add & has['linux'], add - has['linux']


def explain(show):
    lines = [(spot(p), p, f'WARNING: by hand: {f}(): {why}') for p, f, why in hands]
    lines += [(s, p, f'WARNING: {f}(): {advice(f, new)}')
              for s, (p, f, new) in roles.items()
              if not new.startswith(('cocci_left_', 'cocci_x'))]
    for _, p, message in sorted(lines, key=lambda line: line[0]):
        show(p, message)


def unmarked(f):
    return f[len('cocci_left_'):]


def print_uses():
    found = {s: (p, f) for s, (p, f, _, _) in calls.items() if f in GONE or reach[s][0]}
    found.update((spot(p), (p, f)) for p, f, _ in hands if f not in FREES - GONE)
    found.update((s, (p, f)) for s, (p, f, _) in roles.items())
    for s in sorted(found):
        p, f = found[s]
        print(p.file, p.current_element, f)


def concerned(p):
    return spot(p) in roles or any(spot(p) == spot(q) for q, _, _ in hands)


def advice(f, new):
    if f in ALLOCS:
        return f'use {ALLOCS[f]}()'
    if new in ('cocci_first', 'cocci_finish'):
        return 'execmem_finish() does it'
    if new == 'cocci_end':
        return 'execmem_free() does it'
    if new == 'cocci_flush':
        return 'execmem_free() does it'
    return f'use {new}()'

// ----------------------------------------------------------------------------
// Is there anything? In words that spatch can look for before it opens a file.

@defined_1@
type T;
@@
T module_alloc(...) { ... }

@defined_2@
type T;
@@
T module_memfree(...) { ... }

@defined_3@
type T;
@@
T bpf_jit_alloc_exec(...) { ... }

@defined_4@
type T;
@@
T bpf_jit_free_exec(...) { ... }

@defined_5@
type T;
@@
T alloc_insn_page(...) { ... }

@used@
symbol module_alloc, bpf_jit_alloc_exec, alloc_insn_page;
symbol module_memfree, bpf_jit_free_exec, free_insn_page;
@@
\(module_alloc\|bpf_jit_alloc_exec\|alloc_insn_page\|
  module_memfree\|bpf_jit_free_exec\|free_insn_page\)

@looks_up@
symbol kallsyms_lookup_name, register_kprobe;
@@
\(kallsyms_lookup_name\|register_kprobe\)

@here depends on used || looks_up ||
	defined_1 || defined_2 || defined_3 || defined_4 || defined_5@
identifier f;
position p;
@@
f@p

@script:python depends on here@
@@
reset()

// ----------------------------------------------------------------------------
// What is there

@looked_up depends on here@
constant c =~ "^\"(module_(alloc|memfree)|bpf_jit_(alloc|free)_exec|(alloc|free)_insn_page)\"$";
position p;
@@
c@p

@mention depends on here@
identifier f = {module_alloc, bpf_jit_alloc_exec, alloc_insn_page,
		module_memfree, bpf_jit_free_exec, free_insn_page};
position p;
@@
f@p

@definition depends on here@
identifier f = {module_alloc, bpf_jit_alloc_exec, alloc_insn_page,
		module_memfree, bpf_jit_free_exec, free_insn_page};
type T;
position p;
@@
T f@p(...) { ... }

@script:python@
f << mention.f;
p << mention.p;
@@
mentions[spot(p[0])] = (p[0], f)

@script:python@
c << looked_up.c;
p << looked_up.p;
@@
hands.append((p[0], c[1:-1], 'there is no function of this name to look up'))

@defined depends on here@
identifier f;
type T;
position p;
@@
T f@p(...) { ... }

@script:python@
f << defined.f;
p << defined.p;
@@
define(p[0], f, False)

@defined_static depends on here@
identifier f;
type T;
position p;
@@
static T f@p(...) { ... }

@script:python@
f << defined_static.f;
p << defined_static.p;
@@
define(p[0], f, True)

@script:python@
f << definition.f;
p << definition.p;
@@
if f not in static:
    hands.append((p[0], f, 'it is defined here, execmem_arch_setup() is for that'))

@macro depends on here@
identifier f = {module_alloc, bpf_jit_alloc_exec, alloc_insn_page,
		module_memfree, bpf_jit_free_exec, free_insn_page};
position p;
@@
(
#define f@p ...
|
#define f(...)@p ...
)

@script:python@
f << macro.f;
p << macro.p;
@@
not_ours(p[0], f)
hands.append((p[0], f, 'it is a macro here'))

@constant_macro depends on here@
identifier x;
expression e;
@@
#define x e

@script:python@
x << constant_macro.x;
e << constant_macro.e;
@@
macros[x] = text(e)

@variable depends on here@
identifier x;
type T;
position p;
@@
(
T x@p;
|
T x@p = ...;
)

@script:python@
x << variable.x;
T << variable.T;
p << variable.p;
@@
declare(p[0], T, x)

@param depends on here@
identifier f, x;
type T;
parameter list[n] before;
position p;
@@
f(before, T x@p, ...) { ... }

@script:python@
f << param.f;
x << param.x;
T << param.T;
n << param.n;
p << param.p;
@@
parameter(p[0], f, int(n), T, x)

@member depends on here@
identifier S, x;
type T;
@@
struct S { ... T x; ... };

@script:python@
S << member.S;
x << member.x;
T << member.T;
@@
fields['struct ' + S, x] = T

@stored depends on here@
expression l, r;
position p;
@@
(
l@p = r
|
\(rcu_assign_pointer\|WRITE_ONCE\)(l@p, r)
|
smp_store_release(&l@p, r)
)

@script:python@
l << stored.l;
r << stored.r;
p << stored.p;
@@
assign(p[0], l, r)

@returned depends on here@
expression e;
position p;
@@
return@p e;

@script:python@
e << returned.e;
p << returned.p;
@@
flows['result', p[0].current_element].add(source(where(p[0]), e))

@passed depends on here@
identifier f;
expression list[n] before;
expression e;
position p;
@@
f@p(before, e, ...)

@script:python@
f << passed.f;
n << passed.n;
e << passed.e;
p << passed.p;
@@
argument(p[0], f, int(n), e)

@call_0 depends on here@
position p;
@@
alloc_insn_page@p()

@script:python@
p << call_0.p;
@@
call(p[0], 'alloc_insn_page')

@call_1 depends on here@
identifier f = {module_alloc, bpf_jit_alloc_exec,
		module_memfree, bpf_jit_free_exec, free_insn_page,
		vfree, kvfree, vfree_atomic, set_vm_flush_reset_perms};
expression e;
position p;
@@
f@p(e)

@script:python@
f << call_1.f;
e << call_1.e;
p << call_1.p;
@@
call(p[0], f, e)

@call_2 depends on here@
identifier f = {set_memory_ro, set_memory_x, set_memory_rox, set_memory_rw, set_memory_nx,
		__set_memory};
expression e, n;
position p;
@@
f@p(e, n, ...)

@script:python@
f << call_2.f;
e << call_2.e;
n << call_2.n;
p << call_2.p;
@@
call(p[0], f, e, n)

// Read-only and executable is one step. Nothing can be written between the two
// when read-only comes first; else nothing may be between them.

@pair depends on here@
expression e, n;
position p, q;
@@
set_memory_ro@p(e, n)
... when != set_memory_rw(e, n)
set_memory_x@q(e, n)

@pair_or depends on here@
expression e, n;
position p, q;
@@
(
set_memory_ro@p(e, n) || set_memory_x@q(e, n)
|
set_memory_x@p(e, n) || set_memory_ro@q(e, n)
|
set_memory_ro@p(e, n) ?: set_memory_x@q(e, n)
)

@pair_x_first depends on here@
expression e, n, r;
statement S;
position p, q;
@@
(
set_memory_x@p(e, n);
|
if (\(set_memory_x@p(e, n)\|set_memory_x@p(e, n) < 0\)) S
|
r = set_memory_x@p(e, n);
if (\(r\|r < 0\)) S
)
set_memory_ro@q(e, n)

@pair_if depends on here@
expression e, n, r;
position p, q;
@@
r = set_memory_ro@p(e, n);
if (!r)
	r = set_memory_x@q(e, n);

@script:python@
p << pair_if.p;
q << pair_if.q;
@@
pair(p[0], q[0])

@script:python@
p << pair.p;
q << pair.q;
@@
pair(p[0], q[0])

@script:python@
p << pair_or.p;
q << pair_or.q;
@@
pair(p[0], q[0])

@script:python@
p << pair_x_first.p;
q << pair_x_first.q;
@@
pair(p[0], q[0])

// A page for instructions was executable from the beginning.

@checked depends on here@
expression e;
type T;
statement S;
position p;
@@
  e = (T)alloc_insn_page@p()
  ... when != e
  if (unlikely(e == NULL)) S

@script:python@
p << checked.p;
@@
checked.add(spot(p[0]))

// Writable again, directly before it is freed

@end depends on here@
expression e, n, n2;
identifier f = {set_memory_rw, set_memory_nx}, g = {set_memory_rw, set_memory_nx};
identifier h = {module_memfree, bpf_jit_free_exec, free_insn_page, vfree, kvfree};
type T, T2, T3;
position p, q;
@@
(
f@p((T)e, n);
g@q((T2)e, n2);
h((T3)e);
|
f@p@q((T)e, n);
h((T3)e);
)

@script:python@
p << end.p;
q << end.q;
@@
ends.update({spot(p[0]), spot(q[0])})

// What is included, and whether more of linux/moduleloader.h is needed

@has_execmem depends on here@
position p;
@@
#include <linux/execmem.h>@p

@has_loader depends on here@
position p;
@@
#include <linux/moduleloader.h>@p

@has_linux depends on here@
position p;
@@
#include <linux/...>@p

@loads depends on here@
identifier f = {module_frob_arch_sections, arch_mod_section_prepend, module_init_section,
		module_exit_section, module_init_layout_section, apply_relocate,
		apply_relocate_add, clear_relocate_add, module_finalize,
		module_arch_cleanup, module_arch_freeing_init};
position p;
@@
f@p

@loads_itself depends on here@
identifier f = {module_frob_arch_sections, arch_mod_section_prepend, module_init_section,
		module_exit_section, module_init_layout_section, apply_relocate,
		apply_relocate_add, clear_relocate_add, module_finalize,
		module_arch_cleanup, module_arch_freeing_init};
type T;
position p;
@@
T f@p(...) { ... }

@script:python@
p << has_execmem.p;
@@
has['execmem'].add(file_of(p[0]))

@script:python@
p << has_loader.p;
@@
has['loader'].add(file_of(p[0]))

@script:python@
p << has_linux.p;
@@
has['linux'].add(file_of(p[0]))

@script:python@
p << loads.p;
@@
has['need of loader'].add(file_of(p[0]))

@script:python@
p << loads_itself.p;
@@
has['need of loader'].add(file_of(p[0]))

@script:python depends on here@
@@
decide()
include()

// ----------------------------------------------------------------------------
// Saying what was found

@script:python depends on here && report@
@@
explain(coccilib.report.print_report)

@script:python depends on here && org@
@@
explain(coccilib.org.print_todo)

@script:python depends on here && census@
@@
print_uses()

@depends on here && context@
identifier f = {module_alloc, bpf_jit_alloc_exec, alloc_insn_page,
		module_memfree, bpf_jit_free_exec, free_insn_page, vfree, kvfree,
		vfree_atomic, set_vm_flush_reset_perms, set_memory_ro, set_memory_x,
		set_memory_rox, set_memory_rw, set_memory_nx, __set_memory};
position p : script:python() { concerned(p[0]) };
@@
* f@p

// ----------------------------------------------------------------------------
// Changing it. First everything gets the name of what becomes of it.

@mark depends on here && patch@
identifier f = {module_alloc, bpf_jit_alloc_exec, alloc_insn_page,
		module_memfree, bpf_jit_free_exec, free_insn_page, vfree, kvfree,
		set_vm_flush_reset_perms, set_memory_ro, set_memory_x,
		set_memory_rox, set_memory_rw, set_memory_nx, __set_memory};
position p : script:python() { spot(p[0]) in roles };
fresh identifier g = script:python(p) { roles[spot(p[0])][2] };
@@
- f@p
+ g

@depends on here && mark@
expression e;
@@
- if (e) cocci_flush(e);

@depends on here && mark@
expression e, n;
@@
(
- cocci_flush(e);
|
- cocci_end(e, n);
)

// The first of a pair goes, but not the only check of the two.

@depends on here && mark@
expression e, n, r;
statement S;
@@
(
  if (
- cocci_first
+ cocci_finish
  (e, n)) S
|
  if (
- cocci_first
+ cocci_finish
  (e, n) < 0) S
|
  r =
- cocci_first
+ cocci_finish
  (e, n);
  if (\(r\|r < 0\)) S
)
  ...
- cocci_finish(e, n);

@depends on here && mark@
expression e, n;
identifier r;
statement S;
type T;
@@
- T r = cocci_first(e, n);
+ T r;
+ r = cocci_first(e, n);
  if (\(r\|r < 0\)) S

@dropped depends on here && mark@
expression e, n;
identifier r;
statement S;
@@
- r = cocci_first(e, n);
- if (\(r\|r < 0\)) S
  ...
  cocci_finish(e, n)

@depends on here && mark@
expression e, n, r;
statement S;
@@
(
- cocci_first(e, n);
|
- \(WARN_ON\|WARN_ON_ONCE\|BUG_ON\)(cocci_first(e, n));
|
- if (\(cocci_first(e, n)\|cocci_first(e, n) < 0\)) S
|
- r = cocci_first(e, n);
- if (\(r\|r < 0\)) S
)
  ...
  cocci_finish(e, n)

@depends on here && mark@
expression e, n, r;
@@
- r = cocci_first(e, n);
- if (!r)
-	r =
+ r =
  cocci_finish(e, n);

@depends on here && mark@
expression e, n;
@@
(
- cocci_first(e, n) || cocci_finish(e, n)
+ cocci_finish(e, n)
|
- cocci_first(e, n) ?: cocci_finish(e, n)
+ cocci_finish(e, n)
)

@depends on here && mark@
expression e, n;
@@
- cocci_first(e, n)
+ 0

// It was only done if the kernel protects its text; execmem knows that itself.

@depends on here && mark@
expression e, n;
identifier asks = {strict_module_rwx_enabled, strict_kernel_rwx_enabled};
identifier config = {CONFIG_STRICT_MODULE_RWX, CONFIG_STRICT_KERNEL_RWX};
@@
(
- if (asks()) {
  cocci_finish(e, n);
- }
|
- if (IS_ENABLED(config)) {
  cocci_finish(e, n);
- }
)

@depends on here && mark@
expression e, n;
@@
+ /* FIXME: read-only from here on, too; later changes need execmem_update() */
- cocci_x(e, n);
+ cocci_finish(e, n);

@depends on here && mark@
symbol cocci_x;
@@
- cocci_x
+ cocci_finish

@counted depends on here && mark@
identifier n;
@@
  cocci_finish(..., n)

@depends on here && mark disable drop_cast@
expression e, n;
type T;
@@
- cocci_finish((T)e, n)
+ cocci_finished(e)

@depends on here && mark@
expression e, n;
@@
- cocci_finish(e, n)
+ cocci_finished((void *)e)

// What fails directly after the allocation can do what a failed allocation does.

@depends on here && mark@
local idexpression x;
expression r;
type T;
identifier f = {memcpy, memset, memmove};
expression list es;
@@
  x = (T)\(cocci_module_alloc\|cocci_bpf_jit_alloc_exec\)(...)
  ... when != x
(
  if (unlikely(x == NULL)) return r;
- cocci_finished(x);
+ if (execmem_finish(x)) {
+ 	cocci_free(x);
+ 	return r;
+ }
|
  if (unlikely(x == NULL)) return r;
  f(es);
- cocci_finished(x);
+ if (execmem_finish(x)) {
+ 	cocci_free(x);
+ 	return r;
+ }
)

@depends on here && mark@
expression e;
type T;
identifier f = {memcpy, memset, memmove};
expression list es;
statement S;
statement list SL;
@@
  e = (T)\(cocci_module_alloc\|cocci_bpf_jit_alloc_exec\)(...)
  ... when != e
(
  if (unlikely(e == NULL)) { SL }
- cocci_finished(e);
+ if (execmem_finish(e)) {
+ 	cocci_free(e);
+ 	e = NULL;
+ 	SL
+ }
|
  if (unlikely(e == NULL)) { SL }
  f(es);
- cocci_finished(e);
+ if (execmem_finish(e)) {
+ 	cocci_free(e);
+ 	e = NULL;
+ 	SL
+ }
|
  if (unlikely(e == NULL)) S
- cocci_finished(e);
+ if (execmem_finish(e)) {
+ 	cocci_free(e);
+ 	e = NULL;
+ 	S
+ }
|
  if (unlikely(e == NULL)) S
  f(es);
- cocci_finished(e);
+ if (execmem_finish(e)) {
+ 	cocci_free(e);
+ 	e = NULL;
+ 	S
+ }
)

// So that of kprobes is made executable at once.

@depends on here && mark@
expression e;
type T;
statement S;
@@
  e = (T)cocci_alloc_insn_page()
  ... when != e
+ if (e && execmem_finish(e)) {
+ 	execmem_free(e);
+ 	e = NULL;
+ }
  if (unlikely(e == NULL)) S

@depends on here && mark exists@
expression e;
type T;
@@
  e = (T)cocci_bpf_jit_alloc_exec(...)
  ...
- cocci_free(e);
+ jit_free(e);

@depends on here && mark@
symbol cocci_free;
@@
- cocci_free
+ execmem_free

@depends on here && mark@
expression e;
@@
+ /* FIXME: this can fail; the memory must be freed then, and not executed */
- cocci_finished(e);
+ execmem_finish(e);

@depends on here && mark@
symbol cocci_finished;
@@
- cocci_finished
+ execmem_finish

@depends on here && mark@
identifier f = {cocci_open_module_alloc, cocci_open_bpf_jit_alloc_exec,
		cocci_open_alloc_insn_page};
expression e;
identifier x;
type T, T2;
@@
(
+ /* FIXME: execmem_finish() has to come before this is executed */
  e = (T)f(...);
|
+ /* FIXME: execmem_finish() has to come before this is executed */
  T2 x = (T)f(...);
|
+ /* FIXME: execmem_finish() has to come before this is executed */
  return (T)f(...);
)

@depends on here && mark disable drop_cast@
type T;
expression n;
@@
(
- (T)\(cocci_module_alloc\|cocci_open_module_alloc\)(n)
+ (T)execmem_text_alloc(EXECMEM_MODULE_TEXT, n)
|
- \(cocci_module_alloc\|cocci_open_module_alloc\)(n)
+ execmem_text_alloc(EXECMEM_MODULE_TEXT, n)
|
- (T)\(cocci_bpf_jit_alloc_exec\|cocci_open_bpf_jit_alloc_exec\)(n)
+ (T)jit_text_alloc(EXECMEM_BPF, n)
|
- \(cocci_bpf_jit_alloc_exec\|cocci_open_bpf_jit_alloc_exec\)(n)
+ jit_text_alloc(EXECMEM_BPF, n)
|
- (T)\(cocci_alloc_insn_page\|cocci_open_alloc_insn_page\)()
+ (T)execmem_text_alloc(EXECMEM_KPROBES, PAGE_SIZE)
|
- \(cocci_alloc_insn_page\|cocci_open_alloc_insn_page\)()
+ execmem_text_alloc(EXECMEM_KPROBES, PAGE_SIZE)
)

@depends on here && mark@
identifier f =~ "^cocci_left_";
fresh identifier g = script:python(f) { unmarked(f) };
expression list es;
@@
+ /* FIXME: only execmem changes the permissions of its memory */
- f(es);
+ g(es);

@depends on here && mark@
identifier f =~ "^cocci_left_";
fresh identifier g = script:python(f) { unmarked(f) };
@@
- f
+ g

// ----------------------------------------------------------------------------
// Variables that nothing is left for

@depends on here && mark@
identifier dropped.r;
type T;
@@
- T r;
  ... when != r

@depends on here && mark@
identifier counted.n;
expression e;
type T;
@@
(
- T n = e / PAGE_SIZE;
|
- T n = e >> PAGE_SHIFT;
|
- T n = \(DIV_ROUND_UP\|PFN_UP\)(...);
)
  ... when != n

@depends on here && mark@
identifier counted.n;
expression e;
type T;
@@
- T n;
  ... when != n
(
- n = e / PAGE_SIZE;
|
- n = e >> PAGE_SHIFT;
|
- n = \(DIV_ROUND_UP\|PFN_UP\)(...);
)
  ... when != n

// ----------------------------------------------------------------------------
// Includes

@depends on here && mark@
position p : script:python() { file_of(p[0]) in swaps };
@@
- #include <linux/moduleloader.h>@p
+ #include <linux/execmem.h>

@depends on here && mark@
position p : script:python() { file_of(p[0]) in removals };
@@
- #include <linux/moduleloader.h>@p

@depends on here && mark@
position p : script:python() { file_of(p[0]) in additions };
@@
+ #include <linux/execmem.h>
  #include <linux/...>@p

@depends on here && mark@
position p : script:python() { file_of(p[0]) in first_additions };
@@
+ #include <linux/execmem.h>
  #include "..."@p
