// The groups of engine options: where the flat buffer holds them, and that nothing in them is
// passed over in silence.
#pragma once

#include <cstdint>

#include "../hearth.h"

namespace hearth {

/// Checks the table of groups and each group's shape. No group has a field yet: what is not 0 in
/// one was meant for a later library. flat: options.flat_bytes bytes, of any alignment.
/// Throws Error: INVALID_ARGUMENT, or UNSUPPORTED for a group that this library does not know.
void check_option_groups(const hearth_engine_options& options, const uint8_t* flat);

}  // namespace hearth
