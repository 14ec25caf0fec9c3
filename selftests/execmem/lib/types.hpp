/* SPDX-License-Identifier: GPL-2.0 */
/* Numbers of a fixed size, as the kernel calls them. */
#ifndef EXECMEM_TYPES_HPP
#define EXECMEM_TYPES_HPP

#include <cstdint>

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s64 = std::int64_t;

#endif /* EXECMEM_TYPES_HPP */
