// The AWS SDK for JavaScript v3, knowing only what the services' variables say, against the S3 store.
import assert from 'node:assert/strict'
import * as s3 from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'

const Bucket = process.env.S3_BUCKET
const options = { endpoint: process.env.AWS_ENDPOINT_URL, region: process.env.AWS_REGION, forcePathStyle: true }
const client = new s3.S3Client(options)
const send = (Command, input) => client.send(new s3[Command]({ Bucket, ...input }))

await send('PutObjectCommand', { Key: 'a/one.txt', Body: 'hello world', ContentType: 'text/plain' })
assert.equal(await (await send('GetObjectCommand', { Key: 'a/one.txt' })).Body.transformToString(), 'hello world')
const part = await send('GetObjectCommand', { Key: 'a/one.txt', Range: 'bytes=6-10' })
assert.equal(await part.Body.transformToString(), 'world')
assert.equal((await send('HeadObjectCommand', { Key: 'a/one.txt' })).ContentLength, 11)

for (let i = 0; i < 5; i++) await send('PutObjectCommand', { Key: `list/${i}`, Body: `${i}` })
const keys = []
const pages = s3.paginateListObjectsV2({ client, pageSize: 2 }, { Bucket, Prefix: 'list/' })
for await (const page of pages) keys.push(...page.Contents.map((object) => object.Key))
assert.deepEqual(keys, ['list/0', 'list/1', 'list/2', 'list/3', 'list/4'])

const { UploadId } = await send('CreateMultipartUploadCommand', { Key: 'big' })
const Parts = []
for (const [index, size] of [5 << 20, 1000].entries()) {
  const PartNumber = index + 1
  const Body = Buffer.alloc(size, `${PartNumber}`)
  const { ETag } = await send('UploadPartCommand', { Key: 'big', UploadId, PartNumber, Body })
  Parts.push({ PartNumber, ETag })
}
await send('CompleteMultipartUploadCommand', { Key: 'big', UploadId, MultipartUpload: { Parts } })
assert.equal((await send('HeadObjectCommand', { Key: 'big' })).ContentLength, (5 << 20) + 1000)

await send('DeleteObjectsCommand', { Delete: { Objects: keys.map((Key) => ({ Key })) } })
assert.deepEqual((await send('ListObjectsV2Command', { Prefix: 'list/' })).Contents ?? [], [])

const url = await getSignedUrl(client, new s3.GetObjectCommand({ Bucket, Key: 'a/one.txt' }), { expiresIn: 60 })
assert.equal(await (await fetch(url)).text(), 'hello world')

const credentials = { accessKeyId: process.env.AWS_ACCESS_KEY_ID, secretAccessKey: 'wrong' }
const stranger = new s3.S3Client({ ...options, credentials })
await assert.rejects(stranger.send(new s3.GetObjectCommand({ Bucket, Key: 'a/one.txt' })))
console.log('all good')
