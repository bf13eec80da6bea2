// The AWS X-Ray SDK for Node as a service that was called: one segment in the trace, and under the
// call, that the two arguments name.
const xray = require('aws-xray-sdk-core');

xray.enableManualMode();
const [traceId, parentId] = process.argv.slice(2);
const segment = new xray.Segment('stock', traceId, parentId);
segment.addAnnotation('shelf', 'é7');
const query = segment.addNewSubsegment('reserve');
query.addMetadata('rows', ['a\nb', 'quo"te', '\u2028']);
query.close(new Error('shelf 7 is empty'));
segment.close();
