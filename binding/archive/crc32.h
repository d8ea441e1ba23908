// CRC-32 of zip archives (ISO 3309, polynomial 0x04C11DB7 reflected).
#pragma once

#include <cstddef>
#include <cstdint>

namespace torchgraft::archive {

// Of bytes that follow those with the checksum `before`; 0 begins.
uint32_t crc32(const void* data, size_t length, uint32_t before = 0);

}  // namespace torchgraft::archive
