// Formats that are decoded on their way to the device.
#include "model/file_format.h"

#include <string>
#include <vector>

#include "check.h"
#include "error.h"

namespace hearth::test {
namespace {

std::vector<std::byte> bytes_of(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(std::byte(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

// A group of random bytes with the scale 0.0007, and what dequantize() of PyPI's gguf 0.19.0 makes
// of it, as fp16.
const std::string kGroup =
    "8b4ae5f1a94106a0956a26afbccdafe562f90a945f5693c642276ad5ab2da7394551370e99b2d74c3427fa48"
    "d732a1df70aca1e926115901dd06f27f8f063cd25e19a621f9bd0ccc21397c1ec795ca7748dc03d17a88934d"
    "85527357a2e64647f03e2fb81f223f4192c58efd5185f0711ef7677a1f132a818d882195a100b28d6b236b82"
    "481bd9fe630dc3ce3be4ebcab72f45b35223479f6e794d57037e2cfde9e15a7789781e3721a557d8e5a70329"
    "6dcb81db3f65cf9c1bdc5d1d8fc83f0b0bb4db71be572209851d3d24f4c0cf83bc11";
const std::string kValues =
    "a73268322d31e21fabb13030eeac00002d31eaa96c31642fe632aeb0a333ee28a9bb52bd1b3542bc62baaebc"
    "0bbcaebccfaea9371b3578bcbfbd88b9523df53525b06c3acdb1763776b3a1aacdb1cdb9cd39c4b88f38f9b8"
    "cdb1cd35a1a637b610bd6e40bfbc47bf1dc0e7c06eb8613d96409837b23d10ad61bdf63e6e40b23deab5eab1"
    "2db9483a113c6f38ea39cebca7b6ce3c8b3d113cfdbc6fb864b7a73a5c3d4f3bccbf173e5cb9df349abdccb3"
    "cc33633c55bed9b15cbd633cdf38a13c92b424b9f3b4000055b1ffb786399e37f3b4b6b9e7399e373cb73c37"
    "f3388639a5296fb0d7a8a52da5ad40b26fac0000d7a474ae749e42abd7b074aed9b1d9318331d23822b8dbbd"
    "d2388b3e22bcd2c02a3dd238d2c0333e333a3bbf7ac0333a32b18c3839b48635393832b12c362cb6d236dfb8"
    "39b4d9b1d93539b825377837000026ba203977b52039772d4b3d20b920bd84b777ad713820b984b777bd7729"
    "0c3aa5310ab90834403a3eb53e39db363e35d738db363c38db36000042373e3560a94da0742ad7b0923042b3"
    "4d3087b34da474a6d72c083074aed7ac603187abbcb1cf3abc3d4d301fbcbcb51f3c4d38bc35e2377436e237"
    "e23b743a2bbb043d41bc37b9af377d3164a8af37f53baf3b503a96b6643441bcc3b964b4aa38dc3a403d6dc1"
    "33b806c06d41403d4dbe9ab9334033c0e63c064000bb9abd5a3f3340";

TEST("decode_rows() gives the values of Q6_K that gguf gives") {
  std::vector<std::byte> groups = bytes_of(kGroup), expected = bytes_of(kValues);
  groups.insert(groups.end(), groups.begin(), groups.end());
  expected.insert(expected.end(), expected.begin(), expected.end());
  std::vector<std::byte> values(expected.size(), std::byte(0xff));
  decode_rows(FileFormat::kQ6_K, groups.data(), groups.size(), values.data());
  CHECK(values == expected);
}

TEST("decode_rows() refuses what packers take themselves") {
  std::byte byte{};
  bool refused = false;
  try {
    decode_rows(FileFormat::kQ8_0, &byte, 1, &byte);
  } catch (const Error&) {
    refused = true;
  }
  CHECK(refused);
}

}  // namespace
}  // namespace hearth::test
