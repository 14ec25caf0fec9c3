# SPDX-License-Identifier: GPL-2.0
# For drgn: lists the modules of a dump, and looks symbols up. Standard input has
# "MODULE NAME ADDRESS" on each line; each is looked for by its name and by its
# address, and what is found is printed as "ADDRESS NAME [MODULE]".
#
# usage: drgn -c DUMP -s VMLINUX -s MODULE.ko... dump.py < SYMBOLS
import sys

from drgn.helpers.linux.module import for_each_module


def where(address):
    """The module whose memory has that address, by struct module alone."""
    for module in for_each_module(prog):
        for memory in module.mem:
            base = memory.base.value_()
            if base <= address < base + memory.size.value_():
                return module.name.string_().decode()
    return "?"


print("drgn", __import__("drgn").__version__)
for module in for_each_module(prog):
    print("module", module.name.string_().decode(), [hex(m.base.value_()) for m in module.mem])
for line in sys.stdin:
    _, name, address = line.split()
    for key in (name, int(address, 16)):
        try:
            symbol = prog.symbol(key)
            print(hex(symbol.address), symbol.name, "[%s]" % where(symbol.address))
        except LookupError as error:
            print(key, error)
