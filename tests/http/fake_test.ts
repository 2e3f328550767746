import { testBadInput } from "./bad_input.ts";
import { testConformance } from "./conformance.ts";
import { fakeHarness } from "./harness.ts";

const fake = {
  name: "fake engine",
  open: (options = {}) => Promise.resolve(fakeHarness({ tokenMs: 1 }, options)),
};

testConformance(fake);
testBadInput(fake);
