// The AWS X-Ray SDK for Node: asks for sampling rules, then sends one segment and prints it.
const xray = require('aws-xray-sdk-core');

xray.enableManualMode();
const sampler = xray.middleware.sampler;

function whenSampledBy(rule, then) {
  // The first question starts the pollers; the SDK has no event for the rules' arrival.
  if (sampler.shouldSample({ serviceName: 'shop' }) === rule) {
    then();
  } else {
    setTimeout(whenSampledBy, 50, rule, then);
  }
}

whenSampledBy('always-the-shop', () => {
  const segment = new xray.Segment('shop 雪');
  segment.addAnnotation('customer', 'Zoë ñ 🦀');
  const query = segment.addNewSubsegment('database');
  query.addMetadata('rows', ['a\nb', 'quo"te', '\u2028']);
  query.close();
  segment.close();
  console.log(segment.format());
});

// The pollers and the UDP socket do not keep the process alive: whoever started it ends it.
process.stdin.resume();
